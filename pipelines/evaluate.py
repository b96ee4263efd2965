"""Every model on every test set against MATLAB's bicubic, zero-shot adaptation too; on blind sets the family alone."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from torch import Tensor

    from srfoundry.degradation.observation import Observation
    from srfoundry.zero_shot.result_tables import Scores

BLURRED = ("gauss20", "aniso")  # sets under one kernel, on a grid of their own
SHOWN = dict.fromkeys(BLURRED, ("finetune10_true", "mzsr10_estimated", "mzsr10_true")) | {"bicubic": ("dual", "pruned")}


def evaluate(stage: Stage) -> None:
    """Score every model on the held-out photographs: PSNR and SSIM on Y, border cropped by the scale."""
    from copy import deepcopy
    from pathlib import Path

    from torch import zeros

    from pipelines.support.real_photographs import look_at_real
    from srfoundry.core.compute import channels_last, is_gpu
    from srfoundry.core.parallel import threads
    from srfoundry.imaging import decoding, images
    from srfoundry.networks.sr.multiplications import multiplications
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.family import BLIND, CLEAN, FAMILY, FIXED, NETS
    from srfoundry.reporting import pictures
    from srfoundry.reporting.compression import quality_pictures
    from srfoundry.zero_shot.recipe import Recipe
    from srfoundry.zero_shot.result_tables import ResultTable, scored
    from srfoundry.zero_shot.trials import of_set

    paths = {name: stage.input(f"models/{name}.safetensors") for name in NETS}
    nets = {name: channels_last(cards.load(path)[0], stage.device) for name, path in paths.items()}
    recipe = Recipe.from_card(cards.read_card(paths["metatrain"]).metrics)
    originals = stage.input("data/synthesize/held_out") / "high"

    def attempt(item: tuple[str, str]) -> "tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Scores]]":
        test, name = item
        high, observed = images.read(originals / name), _observed(stage, test, name)
        own = deepcopy(nets)  # adaptation puts its weights into a net for a moment
        tried = of_set(test, own, observed, recipe=recipe, tile=stage.params.evaluate.tile)
        restored = {method: image.cpu() for method, image in tried}
        scores = scored(restored, high, stage.scale, natural=test in BLIND)
        return high, observed["true"].low.cpu(), restored, scores

    tests = ("bicubic", *BLURRED, *BLIND)
    items = [(test, path.name) for test in tests for path in decoding.find(originals)]
    spread = threads(1 if is_gpu(stage.device) else None)  # a GPU does one image after another
    table = ResultTable(tests)
    for (test, name), (high, low, restored, scores) in zip(items, spread(attempt, items, "evaluate"), strict=True):
        stem = Path(name).stem
        table.add(test, stem, scores)
        picture = stage.output(f"results/evaluate/pictures/{test}_{stem}.png")
        shown = {method: restored[method] for method in SHOWN.get(test, ("pruned", "photo"))}
        pictures.comparison(picture, low, shown, high)
        stage.picture(f"{test} {stem}", picture)
    means, counted = {**table.means(), "real": look_at_real(stage, nets)}, {**FIXED, "mzsr": "metatrain"}
    sizes = {name: sum(weight.numel() for weight in nets[net].parameters()) for name, net in counted.items()}
    low = zeros(1, 3, 96, 96, device="meta")
    macs = {name: multiplications(deepcopy(nets[net]).to("meta"), low) for name, net in FAMILY.items()}
    psnr = {name: scores["psnr_y"] for name, scores in means["bicubic"].items()}
    folder = stage.output("results/evaluate/pictures/family.png").parent
    for path in quality_pictures(folder, psnr, sizes, {name: macs[name] for name in CLEAN}):
        stage.picture(path.stem, path)
    stage.metrics({**means, "by_photograph": table.photographs(), "parameters": sizes, "macs_96x96": macs})


def _observed(stage: Stage, test: str, name: str) -> "dict[str, Observation]":
    """A test image with each kernel that adaptation is given, by name; None stands for MATLAB's bicubic."""
    from srfoundry.degradation import kernel_files
    from srfoundry.degradation.observation import Observation, Sampling
    from srfoundry.imaging import images

    given: dict[str, Tensor | None] = {"true": None}
    if test in BLURRED:
        true = kernel_files.read(stage.input(f"data/synthesize/kernels/{test}.npy"))
        estimated = kernel_files.read(stage.input(f"data/estimate/{test}/{name.rpartition('.')[0]}.npy"))
        given = {"true": true, "estimated": estimated, "bicubic": None}
    low = images.read(stage.input("data/synthesize/held_out") / test / name).to(stage.device)
    return {kind: Observation(low, kernel, Sampling(stage.scale)) for kind, kernel in given.items()}


if __name__ == "__main__":
    main(evaluate)
