"""NIQE of what nets for photographs make: of real low-resolution photographs, and of degraded test images.

NIQE (Mittal et al. 2013) knows no original and likes grain better than smoothness, so a net that takes noise away may
have a worse one than bicubic and be nearer to the truth: it stands beside PSNR, and beside the picture.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._exactness import photographs
from benchmarks._photographs_runs import SEED, Degrade
from srfoundry.core.seeds import generator
from srfoundry.imaging import decoding, images, looks
from srfoundry.reporting.looks import sheet

Net = Callable[[Tensor], Tensor]
REAL = "real"  # photographs as they are


def figures(
    members: Mapping[str, Net],
    folder: Path | None,
    scale: int,
    degraded: Mapping[str, Iterable[Tensor]],
    picture: Path | None = None,
) -> dict[str, Any]:
    """Mean, median and worst NIQE of bicubic and of each member, of `real` photographs and of each degraded set.

    Args:
        members: networks by name.
        folder: real low-resolution photographs; the freely licensed ones inside the packages if None.
        scale: of the networks.
        degraded: low-resolution images by set.
        picture: of the real photographs (`reporting.looks`), if given.
    """
    paths = looks.free_photographs() if folder is None else decoding.find(folder)
    found: dict[str, Any] = {}
    with torch.inference_mode():
        made = [looks.look(path.name, images.read(path), members, scale) for path in paths]
        scores = [each.scores() for each in made]
        found[REAL] = _rounded(looks.summary(scores))
        if picture is not None:
            sheet(picture, made, scores)
        for name, lows in degraded.items():
            rows = [looks.look(name, low, members, scale).scores() for low in lows]  # one image at a time in memory
            found[name] = _rounded(looks.summary(rows))
    return found


def lows(tests: Path, sets: Sequence[str], scale: int, name: str, make: Degrade) -> Iterator[Tensor]:
    """The very images of a class that the nets are scored on (`PhotographRuns.by_image`)."""
    for each in sets:
        for index, high in enumerate(photographs(tests / each, scale)):
            yield make(high, generator(SEED, name, each, index)).float()


def _rounded(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {key: round(value, 3) for key, value in row.items()} for name, row in found.items()}
