"""Kernel estimation as a task of its own: from an image file to its kernel, kept so that a second run finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind import estimators
from srfoundry.core import seeds
from srfoundry.core.state import load_state, save_state
from srfoundry.imaging import images


@dataclass(frozen=True)
class Job:
    """One image file, where its finished estimate is kept, and the names that seed what is random."""

    image: Path
    kept: Path
    names: tuple[str, ...]


def estimate(
    job: Job,
    *,
    section: Mapping[str, Any],
    scale: int,
    seed: int,
    key: str,
    device: str,
    precision: str,
    models: Path,
    bank: Float[Tensor, "n k k"] | None,
) -> tuple[Float[Tensor, "1 k k"], list[dict[str, float]]]:
    """The kernel of an image file, and the rows of its estimation; taken from `job.kept` if they are there.

    Any machine that sees the same files may run it: nothing but paths and numbers is handed over.

    Args:
        key: what a kept estimate must belong to: params, data and code.
        models: folder of the trained networks, which methods.TRAINED need.
    """
    blank = torch.zeros(1, *[estimators.size_of(section, scale, bank)] * 2)
    found = nn.ParameterList([nn.Parameter(blank, requires_grad=False)])
    done, history = load_state(job.kept, key, {"kernel": found})
    if not done:  # an image is short work: one that was cut off starts again
        where = torch.device(device)
        result = estimators.estimate(
            images.read(job.image).to(where),
            section=section,
            scale=scale,
            rng=seeds.generator(seed, *job.names),
            bank=bank,
            trained=estimators.nets(models, scale, where) if section["method"] in estimators.TRAINED else None,
            precision=precision,
        )
        found[0].copy_(result.kernel)
        history = result.history
        save_state(job.kept, key, {"kernel": found}, len(history), history)
    return found[0].detach(), history
