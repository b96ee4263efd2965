"""Every model on every test set against MATLAB's bicubic; zero-shot adaptation with true and other kernels."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipelines.stage import Stage, main

if TYPE_CHECKING:
    from torch import Tensor, nn

SETS = ("bicubic", "gauss20", "aniso")
FIXED = {"pretrain": "pretrain", "mzsr0": "metatrain", "dual": "dual", "pruned": "prune"}  # methods without adaptation
SHOWN = {"bicubic": ("dual", "pruned"), "gauss20": ("finetune10_true", "mzsr10_estimated", "mzsr10_true")}
SHOWN["aniso"] = SHOWN["gauss20"]


def evaluate(stage: Stage) -> None:
    """Score every model on the held-out photographs: PSNR and SSIM on Y, border cropped by the scale."""
    from srfoundry import checkpoint, images, metrics, report
    from srfoundry.networks.units import channels_last
    from srfoundry.progress import track

    paths = {name: stage.input(f"models/{name}.safetensors") for name in FIXED.values()}
    nets = {name: channels_last(checkpoint.load(path)[0], stage.device) for name, path in paths.items()}
    rates = checkpoint.read_card(paths["metatrain"]).metrics["rates"]
    sizes = {name: sum(weight.numel() for weight in net.parameters()) for name, net in nets.items()}
    folder = stage.input("data/synthesize/held_out")
    originals = images.find(folder / "high")
    table: dict[str, dict[str, dict[str, dict[str, float]]]] = {name: {} for name in SETS}
    for test in SETS:
        for path in track(originals, f"evaluate {test}"):
            high, low = images.read(path), images.read(folder / test / path.name)
            results = {name: image.cpu() for name, image in _restored(stage, nets, rates, test, path.stem, low)}
            for method, image in results.items():
                scores = {"psnr_y": metrics.psnr_y(image, high, stage.scale)}
                scores["ssim_y"] = metrics.ssim_y(image, high, stage.scale)
                scores["gain_db"] = scores["psnr_y"] - metrics.psnr_y(results["bicubic"], high, stage.scale)
                table[test].setdefault(method, {})[path.stem] = scores
            picture = stage.output(f"results/evaluate/pictures/{test}_{path.stem}.png")
            report.comparison(picture, low, {name: results[name] for name in SHOWN[test] if name in results}, high)
            stage.picture(f"{test} {path.stem}", picture)
    means = {test: {method: _mean(rows) for method, rows in methods.items()} for test, methods in table.items()}
    points = {name: (float(sizes[FIXED[name]]), means["bicubic"][name]["psnr_y"]) for name in ("dual", "pruned")}
    picture = stage.output("results/evaluate/pictures/psnr_over_parameters.png")
    report.scatter(picture, points, "held-out photographs, bicubic")
    stage.picture("psnr over parameters", picture)
    photographs = {
        test: {method: {name: row["psnr_y"] for name, row in rows.items()} for method, rows in methods.items()}
        for test, methods in table.items()
    }
    stage.metrics({**means, "photographs": photographs, "parameters": sizes})


def _restored(
    stage: Stage, nets: "Mapping[str, nn.Module]", rates: list[float], test: str, name: str, low: "Tensor"
) -> "Iterator[tuple[str, Tensor]]":
    """Yield (method, restored image); `mzsr10_estimated` means ten steps with the kernel that `estimate` found."""
    import torch

    from srfoundry import kernels, meta, resize
    from srfoundry.restore import overlap_for, tiled

    tile, scale = stage.params.evaluate.tile, stage.scale
    low = low.to(stage.device)

    def whole(net: "nn.Module", weights: "dict[str, Tensor] | None" = None) -> "Tensor":
        """A zero-shot net runs on an image already enlarged; the others enlarge by themselves."""

        def run(part: "Tensor") -> "Tensor":
            return net(part).clamp(0, 1) if weights is None else meta.restore(net, part, scale, weights=weights)

        overlap = overlap_for(net, tile)
        with torch.inference_mode():
            return tiled(run, low, scale, tile=tile, overlap=overlap)

    yield "bicubic", resize.cubic(low, scale).clamp(0, 1)
    for method, model in FIXED.items():
        zero_shot = model in ("pretrain", "metatrain")
        yield method, whole(nets[model], dict(nets[model].named_parameters()) if zero_shot else None)
    known: dict[str, Tensor | None] = {"bicubic": None}
    if test != "bicubic":
        known["true"] = kernels.read(stage.input(f"data/synthesize/kernels/{test}.npy"))
        known["estimated"] = kernels.read(stage.input(f"data/estimate/{test}/{name}.npy"))
    part = low[..., : 2 * tile, : 2 * tile]  # adaptation holds every feature map: bounded, the image's beginning
    net = nets["metatrain"]
    for label, kernel in known.items():
        labels = [label] if test != "bicubic" else [label, "true"]  # there MATLAB's bicubic is the truth
        weights, _ = meta.adapt(net, part, kernel, scale, rates=rates[:1])
        once = whole(net, weights)
        weights, _ = meta.adapt(net, part, kernel, scale, rates=rates[1:], weights=weights)
        often = whole(net, weights)
        for shown in labels:
            yield f"mzsr1_{shown}", once
            yield f"mzsr{len(rates)}_{shown}", often
    weights, _ = meta.adapt(nets["pretrain"], part, known.get("true"), scale, rates=rates)
    yield f"finetune{len(rates)}_true", whole(nets["pretrain"], weights)


def _mean(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows.values()) / len(rows) for key in next(iter(rows.values()))}


if __name__ == "__main__":
    main(evaluate)
