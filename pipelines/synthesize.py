"""The data: photographs split by scene, their bicubic pairs, a bank of kernels and the degraded test sets."""

from typing import TYPE_CHECKING

from pipelines.stage import Stage, main

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

TESTS = {"gauss20": (2.0, 2.0, 0.0), "aniso": (4.0, 1.0, -0.5)}  # variances in px^2 and angle: MZSR's g_2.0 and g_ani
WIDEST = 2.5  # largest variance of the bank's kernels, in multiples of the scale (MZSR)


def synthesize(stage: Stage) -> None:
    """Split the photographs and degrade them: bicubic pairs, a kernel bank, fixed test sets (MZSR eq. 1)."""
    from srfoundry import images, sources
    from srfoundry.dataset import prepare
    from srfoundry.progress import track

    chosen, folder = stage.params.synthesize, stage.output("data/synthesize/x").parent
    gathered = sources.gather(
        chosen.source, stage.root / chosen.folder, smallest=chosen.smallest, on_bad_image=chosen.on_bad_image
    )
    parts = sources.split(
        list(gathered.photographs), held_out=chosen.held_out, validation=chosen.validation, seed=stage.seed
    )
    factors = [1, 2] if stage.scale == 2 else [1, 2, 4]
    for part in ("train", "validation"):
        chain = ((name, images.read(gathered.photographs[name])) for name in track(parts[part], part))
        prepare(folder / part, chain, factors)
    tests = _kernels(stage, folder / "kernels")
    for name in track(parts["held_out"], "held_out"):
        _degrade(stage, folder / "held_out", name, images.read(gathered.photographs[name]), tests)
    _pairs(stage, folder / "held_out", parts["held_out"][0], [*tests])
    stage.metrics({"photographs": parts, "counts": {k: len(v) for k, v in parts.items()}, "skipped": gathered.skipped})


def _kernels(stage: Stage, folder: "Path") -> "dict[str, Tensor]":
    """Write the bank (drawn as MZSR draws), its manifest and the test kernels; return the latter."""
    import json

    import numpy as np
    import torch

    from srfoundry import kernels, report
    from srfoundry.seeds import generator

    chosen = stage.params.synthesize
    folder.mkdir(parents=True, exist_ok=True)
    rng = generator(stage.seed, stage.name, "bank")
    bank, drawn = kernels.sample(chosen.bank, size=chosen.kernel_size, low=1.0, high=WIDEST * stage.scale, rng=rng)
    np.save(folder / "bank.npy", bank.numpy())
    rows = [dict(zip(("theta", "variance1", "variance2"), row, strict=True)) for row in drawn.tolist()]
    (folder / "bank.json").write_text(json.dumps(rows, indent=1))
    tests = {}
    for name, values in TESTS.items():
        first, second, theta = (torch.tensor([value], dtype=torch.float64) for value in values)
        tests[name] = kernels.gaussian(chosen.kernel_size, first, second, theta).float()
        np.save(folder / f"{name}.npy", tests[name][0].numpy())
    picture = stage.output(f"results/{stage.name}/kernels.png")
    report.kernels(picture, {**tests, **{f"bank {index}": bank[index] for index in range(min(6, len(bank)))}})
    stage.picture("kernels", picture)
    return tests


def _degrade(stage: Stage, folder: "Path", name: str, photograph: "Tensor", tests: "dict[str, Tensor]") -> None:
    from srfoundry import images, resize
    from srfoundry.dataset import crop_to_multiple
    from srfoundry.degrade import degrade
    from srfoundry.seeds import generator

    high = crop_to_multiple(photograph, stage.scale)
    images.write(high, folder / "high" / f"{name}.png")
    levels = images.to_uint8(high).permute(0, 3, 1, 2)
    bicubic = resize.cubic_uint8(levels, 1 / stage.scale).permute(0, 2, 3, 1)
    images.write(images.from_uint8(bicubic), folder / "bicubic" / f"{name}.png")
    for test, kernel in tests.items():
        rng = generator(stage.seed, stage.name, test, name)
        low = degrade(high, kernel, stage.scale, noise=stage.params.synthesize.noise, rng=rng)
        images.write(low, folder / test / f"{name}.png")


def _pairs(stage: Stage, folder: "Path", name: str, tests: list[str]) -> None:
    from srfoundry import images, report

    high = images.read(folder / "high" / f"{name}.png")
    lows = {test: images.read(folder / test / f"{name}.png") for test in ("bicubic", *tests)}
    picture = stage.output(f"results/{stage.name}/pairs.png")
    report.hero(picture, [(low, {test: high}, None, None) for test, low in lows.items()], zoom=3)
    stage.picture("pairs", picture)


if __name__ == "__main__":
    main(synthesize)
