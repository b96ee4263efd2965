"""Every model on every test set against MATLAB's bicubic; zero-shot adaptation with true and other kernels."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from torch import Tensor

SETS = ("bicubic", "gauss20", "aniso")
SHOWN = {"bicubic": ("dual", "pruned"), "gauss20": ("finetune10_true", "mzsr10_estimated", "mzsr10_true")}
SHOWN["aniso"] = SHOWN["gauss20"]


def evaluate(stage: Stage) -> None:
    """Score every model on the held-out photographs: PSNR and SSIM on Y, border cropped by the scale."""
    from copy import deepcopy

    from torch import zeros

    from srfoundry.core.progress import track
    from srfoundry.imaging import images, metrics
    from srfoundry.networks.sr.units import channels_last, multiplications
    from srfoundry.networks.zoo import cards
    from srfoundry.reporting import pictures
    from srfoundry.reporting.compression import family_picture
    from srfoundry.zero_shot import adaptation
    from srfoundry.zero_shot.trials import FAMILY, FIXED, NETS, trials

    paths = {name: stage.input(f"models/{name}.safetensors") for name in NETS}
    nets = {name: channels_last(cards.load(path)[0], stage.device) for name, path in paths.items()}
    recipe = adaptation.recipe(cards.read_card(paths["metatrain"]).metrics)
    folder = stage.input("data/synthesize/held_out")
    originals = images.find(folder / "high")
    table: dict[str, dict[str, dict[str, dict[str, float]]]] = {name: {} for name in SETS}
    for test in SETS:
        for path in track(originals, f"evaluate {test}"):
            high, low = images.read(path), images.read(folder / test / path.name)
            known, results = _kernels(stage, test, path.stem), {}
            for name, image in trials(
                nets, low.to(stage.device), known, stage.scale, recipe=recipe, tile=stage.params.evaluate.tile
            ):
                results[name] = image.cpu()
                scores = {"psnr_y": metrics.psnr_y(results[name], high, stage.scale)}
                scores["ssim_y"] = metrics.ssim_y(results[name], high, stage.scale)
                scores["gain_db"] = scores["psnr_y"] - metrics.psnr_y(results["bicubic"], high, stage.scale)
                table[test].setdefault(name, {})[path.stem] = scores
            picture = stage.output(f"results/evaluate/pictures/{test}_{path.stem}.png")
            pictures.comparison(picture, low, {name: results[name] for name in SHOWN[test]}, high)
            stage.picture(f"{test} {path.stem}", picture)
    means = {test: {name: _mean(rows) for name, rows in methods.items()} for test, methods in table.items()}
    counted = {**FIXED, "mzsr": "metatrain"}
    sizes = {name: sum(weight.numel() for weight in nets[net].parameters()) for name, net in counted.items()}
    picture = stage.output("results/evaluate/pictures/psnr_over_parameters.png")
    points = {name: (float(sizes[name]), means["bicubic"][name]["psnr_y"]) for name in ("pretrain", "dual", "pruned")}
    pictures.scatter(picture, points, "held-out photographs, bicubic")
    stage.picture("psnr over parameters", picture)
    low = zeros(1, 3, 96, 96, device="meta")
    macs = {name: multiplications(deepcopy(nets[net]).to("meta"), low) for name, net in FAMILY.items()}
    picture = stage.output("results/evaluate/pictures/family.png")
    costs = {"parameters, K": {name: sizes[name] / 1e3 for name in FAMILY}}
    costs["multiply-adds at 96x96, G"] = {name: count / 1e9 for name, count in macs.items()}
    family_picture(picture, {name: means["bicubic"][name]["psnr_y"] for name in FAMILY}, costs)
    stage.picture("family", picture)
    photographs = {
        test: {name: {photograph: row["psnr_y"] for photograph, row in rows.items()} for name, rows in methods.items()}
        for test, methods in table.items()
    }
    stage.metrics({**means, "photographs": photographs, "parameters": sizes, "macs_96x96": macs})


def _kernels(stage: Stage, test: str, name: str) -> "dict[str, Tensor | None]":
    """What adaptation is told of the blur; None stands for MATLAB's bicubic."""
    from srfoundry.degradation import kernel_files

    if test == "bicubic":
        return {"true": None}
    true = kernel_files.read(stage.input(f"data/synthesize/kernels/{test}.npy"))
    estimated = kernel_files.read(stage.input(f"data/estimate/{test}/{name}.npy"))
    return {"true": true, "estimated": estimated, "bicubic": None}


def _mean(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows.values()) / len(rows) for key in next(iter(rows.values()))}


if __name__ == "__main__":
    main(evaluate)
