"""The data: photographs split by scene, their bicubic pairs, a bank of kernels and the degraded test sets."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from srfoundry.data.sources import Gathered

TESTS = {"gauss20": (2.0, 2.0, 0.0), "aniso": (4.0, 1.0, -0.5)}  # variances in px^2 and angle: MZSR's g_2.0 and g_ani
SHOWN = 3  # photographs in the picture of pairs


def synthesize(stage: Stage) -> None:
    """Split the photographs and degrade them: bicubic pairs, a kernel bank, fixed test sets (MZSR eq. 1)."""
    from pipelines.support.fan_out import mapped
    from srfoundry.data import prepare, sources, test_sets
    from srfoundry.imaging.scales import reductions

    chosen, folder = stage.params.synthesize, stage.output("data/synthesize/x").parent
    tests = _kernels(stage, folder / "kernels")
    archives = [(archive.url, archive.checksum) for archive in chosen.archives]
    paths = sources.listed(chosen.source, stage.root / chosen.folder, archives, stage.root / "downloads")
    sources.check_names(paths, held_out=chosen.held_out, validation=chosen.validation)
    gathered = sources.gather(paths, smallest=chosen.smallest, on_bad_image=chosen.on_bad_image, mapped=mapped())
    scenes = sources.scenes(gathered.photographs)
    parts = sources.split(
        list(scenes), held_out=chosen.held_out, validation=chosen.validation, seed=stage.seed, scenes=scenes
    )
    for part in ("train", "validation"):
        photographs = {name: gathered.photographs[name] for name in parts[part]}
        prepare.prepare(folder / part, photographs, reductions(stage.scale), mapped=mapped())
    recipe = test_sets.Recipe(stage.scale, tests, chosen.noise, chosen.jpeg or None, stage.seed)
    held_out = {name: gathered.photographs[name].path for name in parts["held_out"]}
    test_sets.write(folder / "held_out", held_out, recipe, mapped=mapped())
    _pairs(stage, folder / "held_out", parts["held_out"][:SHOWN], [test_sets.BICUBIC, *recipe.kernels])
    _skipped(stage, gathered, scenes)
    stage.metrics(
        {
            "photographs": parts,
            "counts": {part: len(names) for part, names in parts.items()},
            "skipped": gathered.skipped,
            "one_scene": sources.together(scenes),
        }
    )


def _kernels(stage: Stage, folder: "Path") -> "dict[str, Tensor]":
    """Write the bank, its manifest and the test kernels; return the latter."""
    import numpy as np
    import torch

    from srfoundry.degradation import kernel_files, kernels
    from srfoundry.reporting import pictures

    chosen = stage.params.synthesize
    files = kernel_files.find(stage.root / chosen.kernels)
    bank = kernel_files.draw(
        chosen.bank.model_dump(), files, size=chosen.kernel_size, scale=stage.scale, seed=stage.seed, name=stage.name
    )
    kernel_files.write(bank, folder)
    tests = {}
    for name, values in TESTS.items():
        first, second, theta = (torch.tensor([value], dtype=torch.float64) for value in values)
        tests[name] = kernels.gaussian(chosen.kernel_size, first, second, theta)
        np.save(folder / f"{name}.npy", tests[name][0].float().numpy())
    picture = stage.output(f"results/{stage.name}/kernels.png")
    pictures.kernels(picture, {**tests, **kernel_files.samples(bank)})
    stage.picture("kernels", picture)
    return tests


def _pairs(stage: Stage, folder: "Path", names: list[str], tests: list[str]) -> None:
    from srfoundry.imaging import images
    from srfoundry.reporting import pictures

    rows = []
    for name in names:
        high = images.read(folder / "high" / f"{name}.png")
        rows.append((high, {test: images.read(folder / test / f"{name}.png") for test in tests}))
    picture = stage.output(f"results/{stage.name}/pairs.png")
    pictures.pairs(picture, rows)
    stage.picture("pairs", picture)


def _skipped(stage: Stage, gathered: "Gathered", scenes: dict[str, str]) -> None:
    from srfoundry.data import sources
    from srfoundry.reporting import pictures

    picture = stage.output(f"results/{stage.name}/skipped.png")
    alike = [[(name, gathered.photographs[name].path) for name in names] for names in sources.together(scenes)]
    pictures.skipped(picture, len(gathered.photographs), gathered.skipped, alike)
    stage.picture("skipped", picture)


if __name__ == "__main__":
    main(synthesize)
