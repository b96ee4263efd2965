"""The data: photographs split by scene, their bicubic pairs, a bank of kernels and the degraded test sets."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from srfoundry.data.splits import Collection

SHOWN = 3  # photographs in the picture of pairs
JUDGED = 4  # validation photographs that have test sets, too: reduced precisions are chosen on these


def synthesize(stage: Stage) -> None:
    """Split the photographs and degrade them: bicubic pairs, a kernel bank, fixed test sets (MZSR eq. 1)."""
    from pipelines.support.fan_out import mapped
    from srfoundry.data import blind_sets, prepare, resuming, splits, test_sets
    from srfoundry.degradation import kernel_bank, kernel_files
    from srfoundry.imaging.scales import reductions

    chosen, folder = stage.params.synthesize, stage.output("data/synthesize/x").parent
    bank = kernel_bank.draw(chosen.blur, stage.root, scale=stage.scale, stream=stage.stream)
    tests = test_sets.kernels_of_tests(chosen.blur.kernel_size)
    kernel_bank.write(bank, folder / "kernels")
    for name, kernel in tests.items():
        kernel_files.save(kernel[0], folder / "kernels" / f"{name}.npy")

    # In a folder of its own: DVC removes an output before its stage runs, and a killed run goes on from what is done.
    work = stage.checkpoint.with_suffix("")
    once = resuming.resumed(mapped(), work, stage.key)
    found = splits.collect(
        chosen.photographs, chosen.split, stage.root, seed=stage.seed, mapped=once, keep=work / "pixels"
    )
    for part in ("train", "validation"):
        prepare.prepare(work / "sets" / part, found.part(part), reductions(stage.scale), mapped=once, resumes=True)
    recipe = test_sets.Recipe(stage.scale, tests, chosen.corruption, stage.seed, list(blind_sets.SETS))
    for part, name, most in (("held_out", "held_out", None), ("validation", "validation_sets", JUDGED)):
        paths = {each: photograph.source for each, photograph in list(found.part(part).items())[:most]}
        test_sets.write(work / "sets" / name, paths, recipe, mapped=once)
        recipe = test_sets.Recipe(stage.scale, {}, chosen.corruption, stage.seed, ["photographs"])
    for made in sorted((work / "sets").iterdir()):
        resuming.hand_over(made, folder / made.name)

    _pictures(stage, {**tests, **kernel_bank.samples(bank)}, found, folder / "held_out")
    stage.metrics(found.figures())
    resuming.forget(work)


def _pictures(stage: Stage, kernels: "dict[str, Tensor]", found: "Collection", held_out: "Path") -> None:
    """Draw the kernels, some photographs with their test images, and what was left out."""
    from srfoundry.data import test_sets
    from srfoundry.reporting import pictures

    target = {name: stage.output(f"results/{stage.name}/{name}.png") for name in ("kernels", "pairs", "skipped")}
    pictures.kernels(target["kernels"], kernels)
    pairs = [test_sets.read(held_out, name) for name in found.parts["held_out"][:SHOWN]]
    pictures.pairs(target["pairs"], pairs)
    pictures.skipped(target["skipped"], len(found.gathered.photographs), found.gathered.skipped, found.alike())
    for name, path in target.items():
        stage.picture(name, path)


if __name__ == "__main__":
    main(synthesize)
