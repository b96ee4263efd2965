"""Every model on every test set against MATLAB's bicubic; zero-shot adaptation with true and other kernels."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from torch import Tensor

    from srfoundry.zero_shot.result_tables import Scores

SETS = ("bicubic", "gauss20", "aniso")
SHOWN = {"bicubic": ("dual", "pruned"), "gauss20": ("finetune10_true", "mzsr10_estimated", "mzsr10_true")}
SHOWN["aniso"] = SHOWN["gauss20"]


def evaluate(stage: Stage) -> None:
    """Score every model on the held-out photographs: PSNR and SSIM on Y, border cropped by the scale."""
    from copy import deepcopy
    from pathlib import Path

    from torch import zeros

    from srfoundry.core.compute import channels_last, is_gpu
    from srfoundry.core.parallel import threads
    from srfoundry.degradation.observation import Observation, Sampling
    from srfoundry.imaging import decoding, images
    from srfoundry.networks.sr.multiplications import multiplications
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.family import FAMILY, FIXED, NETS
    from srfoundry.reporting import pictures
    from srfoundry.zero_shot.recipe import Recipe
    from srfoundry.zero_shot.result_tables import ResultTable, scored
    from srfoundry.zero_shot.trials import trials

    paths = {name: stage.input(f"models/{name}.safetensors") for name in NETS}
    nets = {name: channels_last(cards.load(path)[0], stage.device) for name, path in paths.items()}
    recipe = Recipe.from_card(cards.read_card(paths["metatrain"]).metrics)
    folder = stage.input("data/synthesize/held_out")

    def attempt(item: tuple[str, str]) -> "tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Scores]]":
        test, name = item
        high, low = images.read(folder / "high" / name), images.read(folder / test / name)
        observed = {
            given: Observation(low.to(stage.device), kernel, Sampling(stage.scale))
            for given, kernel in _kernels(stage, test, Path(name).stem).items()
        }
        tried = trials(nets, observed, recipe=recipe, tile=stage.params.evaluate.tile)
        restored = {method: image.cpu() for method, image in tried}
        return high, low, {method: restored[method] for method in SHOWN[test]}, scored(restored, high, stage.scale)

    items = [(test, path.name) for test in SETS for path in decoding.find(folder / "high")]
    spread = threads(1 if is_gpu(stage.device) else None)  # a GPU does one image after another
    table = ResultTable(SETS)
    for (test, name), (high, low, shown, scores) in zip(items, spread(attempt, items, "evaluate"), strict=True):
        stem = Path(name).stem
        table.add(test, stem, scores)
        picture = stage.output(f"results/evaluate/pictures/{test}_{stem}.png")
        pictures.comparison(picture, low, shown, high)
        stage.picture(f"{test} {stem}", picture)
    means, counted = table.means(), {**FIXED, "mzsr": "metatrain"}
    sizes = {name: sum(weight.numel() for weight in nets[net].parameters()) for name, net in counted.items()}
    low = zeros(1, 3, 96, 96, device="meta")
    macs = {name: multiplications(deepcopy(nets[net]).to("meta"), low) for name, net in FAMILY.items()}
    _draw(stage, {name: scores["psnr_y"] for name, scores in means["bicubic"].items()}, sizes, macs)
    stage.metrics({**means, "photographs": table.photographs(), "parameters": sizes, "macs_96x96": macs})


def _kernels(stage: Stage, test: str, name: str) -> "dict[str, Tensor | None]":
    """The kernels that adaptation is given, by name; None stands for MATLAB's bicubic."""
    from srfoundry.degradation import kernel_files

    if test == "bicubic":
        return {"true": None}
    true = kernel_files.read(stage.input(f"data/synthesize/kernels/{test}.npy"))
    estimated = kernel_files.read(stage.input(f"data/estimate/{test}/{name}.npy"))
    return {"true": true, "estimated": estimated, "bicubic": None}


def _draw(stage: Stage, psnr: dict[str, float], sizes: dict[str, int], macs: dict[str, int]) -> None:
    """Quality on bicubic images over parameters, and over what the family's members cost."""
    from srfoundry.reporting import pictures
    from srfoundry.reporting.compression import family_picture

    picture = stage.output("results/evaluate/pictures/psnr_over_parameters.png")
    points = {name: (float(sizes[name]), psnr[name]) for name in ("pretrain", "dual", "pruned")}
    pictures.scatter(picture, points, "held-out photographs, bicubic")
    stage.picture("psnr over parameters", picture)
    picture = stage.output("results/evaluate/pictures/family.png")
    costs = {"parameters, K": {name: sizes[name] / 1e3 for name in macs}}
    costs["multiply-adds at 96x96, G"] = {name: count / 1e9 for name, count in macs.items()}
    family_picture(picture, {name: psnr[name] for name in macs}, costs)
    stage.picture("family", picture)


if __name__ == "__main__":
    main(evaluate)
