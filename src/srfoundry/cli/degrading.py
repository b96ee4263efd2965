"""The command `degrade`: a test case for `restore` from a sharp photograph."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from srfoundry.cli.commands import say
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    import torch


def degrade(options: argparse.Namespace) -> int:
    """Blur and decimate a sharp photograph: a test case for `restore`."""
    from srfoundry.core import seeds
    from srfoundry.data import test_sets
    from srfoundry.degradation import conventions, kernel_files
    from srfoundry.degradation import operator as physics
    from srfoundry.degradation.settings import Corruption
    from srfoundry.imaging import images
    from srfoundry.reporting import pictures

    convention = conventions.get(options.convention)
    target = _target(options, "low")
    stem = target.with_name(f"{target.stem}_kernel")
    if options.kernel is not None and options.kernel.resolve() == stem.with_suffix(".npy").resolve():
        raise FoundryError(f"the result would replace its own kernel {options.kernel}; name another place with --out")
    kernel = _blur(options, convention.phase(options.scale) if options.decimation == "direct" else 0.0)
    high = test_sets.exact(options.image, options.scale)
    border = options.border or convention.border
    low = physics.degrade(high, kernel, options.scale, decimation=options.decimation, border=border)
    corruption = Corruption(noise=options.noise / 255, jpeg=options.jpeg or 0)
    low = physics.corrupt(low, corruption, rng=seeds.generator(options.seed, "degrade", "noise")).float()
    images.write(low, target, truncate=convention.truncates)
    kernel_files.save(kernel[0], stem.with_suffix(".npy"))
    pictures.blind(stem.with_suffix(".png"), low, {"original": high.float()}, kernel.float(), "kernel")
    say(f"{target}  ({low.shape[-1]}x{low.shape[-2]}, 1/{options.scale} of {options.image.name})")
    say(f"{stem}.npy  and  {stem}.png")
    return 0


def _blur(options: argparse.Namespace, offset: float) -> "torch.Tensor":
    """The kernel that the options of `degrade` describe, a correlation; a drawn one lies `offset` from the middle."""
    import math

    import torch

    from srfoundry.core import seeds
    from srfoundry.degradation import kernel_files, kernels

    if options.kernel is not None:  # it stands where its program has it
        return kernel_files.read(options.kernel, options.convention)
    if options.family is not None:
        rng = seeds.generator(options.seed, "degrade", options.family)
        return kernels.FAMILIES[options.family](1, size=21, scale=options.scale, rng=rng, offset=offset)[0]
    variance = torch.tensor([options.width**2], dtype=torch.float64)
    size = 2 * math.ceil(3.5 * options.width + abs(offset)) + 1
    return kernels.gaussian(size, variance, variance, 0 * variance, offset=offset).float()


def _target(options: argparse.Namespace, suffix: str) -> Path:
    """Where to write: NAME_suffix.png beside the image or in the folder of --out, or the file of --out."""
    target = options.out or options.image.with_name(f"{options.image.stem}_{suffix}.png")
    target = target / f"{options.image.stem}_{suffix}.png" if target.is_dir() or not target.suffix else target
    if target.resolve() == options.image.resolve():
        raise FoundryError(f"the result would replace its own source {target}; name another place with --out")
    return target
