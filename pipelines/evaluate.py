"""Every model on every test set against MATLAB's bicubic, zero-shot adaptation too; on blind sets the family alone."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main
from srfoundry.degradation.blurred_sets import BLURRED

if TYPE_CHECKING:
    from srfoundry.evaluation.one_image import EvaluationImage


def evaluate(stage: Stage) -> None:
    """Score every model on the held-out photographs: PSNR and SSIM on Y, border cropped by the scale."""
    from copy import deepcopy
    from functools import partial

    from torch import zeros

    from pipelines.support.fan_out import mapped
    from pipelines.support.real_photographs import look_at_real
    from srfoundry.core.compute import channels_last, is_gpu
    from srfoundry.evaluation.one_image import Evaluation, evaluate_image
    from srfoundry.evaluation.result_tables import ResultTable
    from srfoundry.networks.sr.multiplications import multiplications
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.family import BLIND, CLEAN, FAMILY, FIXED, NETS
    from srfoundry.reporting import pictures
    from srfoundry.reporting.compression import quality_pictures
    from srfoundry.zero_shot.recipe import Recipe

    paths = {name: stage.input(f"models/{name}.safetensors") for name in NETS}
    nets = {name: channels_last(cards.load(path)[0], stage.device) for name, path in paths.items()}
    recipe, tests = Recipe.from_card(cards.read_card(paths["metatrain"]).metrics), ("bicubic", *BLURRED, *BLIND)
    steps = len(recipe.rates)
    adapted = dict.fromkeys(BLURRED, (f"finetune{steps}_true", f"mzsr{steps}_estimated", f"mzsr{steps}_true"))
    shown = dict.fromkeys(tests, ("pruned", "photo")) | adapted | {"bicubic": ("dual", "pruned")}
    tile = stage.params.evaluate.tile
    work = Evaluation(paths, stage.key, recipe, stage.scale, tile, stage.device, shown)
    spread = mapped(1 if is_gpu(stage.device) else None)  # a GPU does one image after another
    items, table = _test_images(stage, tests), ResultTable(tests)
    for item, found in zip(items, spread(partial(evaluate_image, evaluation=work), items, "evaluate"), strict=True):
        test, stem = item.test, item.original.stem
        table.add(test, stem, found.scores)
        picture = stage.output(f"results/evaluate/pictures/{test}_{stem}.png")
        pictures.comparison(picture, found.low, found.restored, found.high)
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


def _test_images(stage: Stage, tests: tuple[str, ...]) -> "list[EvaluationImage]":
    """Each held-out photograph in each test set, with the kernels that adaptation is given there."""
    from srfoundry.evaluation.one_image import EvaluationImage
    from srfoundry.imaging import decoding

    def kernels(test: str, stem: str) -> dict[str, str]:
        found = {"true": f"data/synthesize/kernels/{test}.npy", "estimated": f"data/estimate/{test}/{stem}.npy"}
        return found if test in BLURRED else {}

    held_out, kept = stage.input("data/synthesize/held_out"), stage.checkpoint.with_suffix("")
    return [
        EvaluationImage(
            test,
            path,
            held_out / test / path.name,
            {k: stage.input(v) for k, v in kernels(test, path.stem).items()},
            kept / test / f"{path.name}.pt",
        )
        for test in tests
        for path in decoding.find(held_out / "high")
    ]


if __name__ == "__main__":
    main(evaluate)
