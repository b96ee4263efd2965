"""The command `degrade`: a test case for `restore` from a sharp photograph, or a test set from a folder of them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from srfoundry.cli.commands import say
from srfoundry.cli.place import check_apart, check_nothing_lost
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    import torch


def degrade(options: argparse.Namespace) -> int:
    """Blur and decimate a sharp photograph: a test case for `restore`; or write a test set of a folder."""
    if options.sets:
        return _sets(options)
    from srfoundry.cli.plan import Naming, check_names, plan
    from srfoundry.core import seeds
    from srfoundry.data import test_sets
    from srfoundry.degradation import conventions, kernel_files
    from srfoundry.degradation import operator as physics
    from srfoundry.degradation.settings import Corruption
    from srfoundry.imaging import formats, images
    from srfoundry.reporting import pictures

    convention = conventions.get(options.convention)
    read = [] if options.kernel is None else [options.kernel]
    naming = Naming("low", beside=("_kernel.npy", "_kernel.png"))
    (job,) = plan([options.image], options.out, naming, existing=options.existing, read=read).jobs
    formats.format_of(job.target)
    check_names(job)
    _, taps, picture = job.outputs
    kernel = _blur(options, convention.phase(options.scale) if options.decimation == "direct" else 0.0)
    high = test_sets.exact(options.image, options.scale)
    border = options.border or convention.border
    low = physics.degrade(high, kernel, options.scale, decimation=options.decimation, border=border)
    corruption = Corruption(noise=options.noise / 255, jpeg=options.jpeg or 0)
    low = physics.corrupt(low, corruption, rng=seeds.generator(options.seed, "degrade", "noise")).float()
    kernel_files.save(kernel[0], taps)
    pictures.blind(picture, low, {"original": high.float()}, kernel.float(), "kernel")
    images.write(low, job.target, truncate=convention.truncates)
    say(f"{job.target}  ({low.shape[-1]}x{low.shape[-2]}, 1/{options.scale} of {options.image.name})")
    say(f"{taps}  and  {picture}")
    return 0


def _sets(options: argparse.Namespace) -> int:
    """Write blind test sets of a photograph or a folder, in the layout of data/synthesize/held_out."""
    from srfoundry.cli import batch
    from srfoundry.cli.plan import Plan, images_of
    from srfoundry.core import atomic, parallel
    from srfoundry.data import sources, test_sets
    from srfoundry.degradation.settings import Corruption

    source: Path = options.image
    named = "_".join(options.sets)
    beside = source if source.name not in ("", "..") else source.resolve()  # the present folder has a name, too
    target = beside.with_name(f"{beside.stem}_{named}_x{options.scale}") if options.out is None else options.out.path
    folder = source if os.path.isdir(source) else source.parent
    if target.resolve() in (source.resolve(), *source.resolve().parents):
        raise FoundryError(f"the sets would replace {source} itself; name another folder with --out")
    check_apart(target)
    if os.path.lexists(target):
        _check_replaceable(target, overwrite=options.existing == "overwrite")
    found: dict[str, Path] = {}
    photographs, others = (_outside(target, paths) for paths in images_of([source]))
    if not photographs:
        raise FoundryError(f"{source} holds no photograph but those of {target}; name a folder of sharp photographs")
    batch.remark(Plan([], left_out=others))
    for path in photographs:
        name = sources.named(path.relative_to(folder).as_posix())
        if name in found:
            raise FoundryError(f"two photographs would be called {name}: {found[name]} and {path}; rename one")
        found[name] = path
    recipe = test_sets.Recipe(options.scale, {}, Corruption(noise=0.0, jpeg=0), options.seed, options.sets)
    with atomic.published(target) as fresh:
        test_sets.write(fresh, found, recipe, mapped=parallel.threads())
    say(f"{target}  ({len(found)} photographs; {', '.join(['high', test_sets.BICUBIC, *options.sets])})")
    return 0


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace what is no test set, or what holds anything that none is made of."""
    from srfoundry.data import blind_sets, test_sets

    whole = all((target / kind).is_dir() for kind in ("high", test_sets.BICUBIC))
    if not whole or not overwrite:
        allow = "allow it with --overwrite" if whole else "it holds no test set"
        raise FoundryError(f"{target} is there already ({allow}); name another folder with --out")
    own = {f"{name}{ending}" for name in blind_sets.SETS for ending in ("", "_kernels", ".json")}
    check_nothing_lost(target, {path.name for path in target.iterdir()} - own - {"high", test_sets.BICUBIC})


def _outside(target: Path, paths: list[Path]) -> list[Path]:
    """Those that do not lie in `target`: what was written before is no photograph to begin with."""
    return [path for path in paths if target.resolve() not in path.resolve().parents]


def _blur(options: argparse.Namespace, offset: float) -> "torch.Tensor":
    """The kernel that the options of `degrade` describe, a correlation; a drawn one lies `offset` from the middle."""
    import math

    import torch

    from srfoundry.core import seeds
    from srfoundry.degradation import kernel_families, kernel_files, kernels

    if options.kernel is not None:  # it stands where its program has it
        return kernel_files.read(options.kernel, options.convention)
    if options.family is not None:
        rng = seeds.generator(options.seed, "degrade", options.family)
        return kernel_families.draw(options.family, 1, size=21, scale=options.scale, rng=rng, offset=offset)[0]
    variance = torch.tensor([options.width**2], dtype=torch.float64)
    size = 2 * math.ceil(3.5 * options.width + abs(offset)) + 1
    return kernels.gaussian(size, variance, variance, 0 * variance, offset=offset).float()
