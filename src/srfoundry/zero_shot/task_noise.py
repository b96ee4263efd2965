"""The noise of kernel tasks: each image or task has white noise of its own strength, or none."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.process_group import Processes
from srfoundry.core.seeds import Rows
from srfoundry.zero_shot.settings import NoiseDraw


@dataclass(frozen=True)
class TaskNoise:
    """White noise of some images.

    Attributes:
        level: standard deviation of each image's, range [0, 1].
        rows: of the batch that these images are.
        rng: draws the noise itself.
    """

    level: Float[Tensor, " b"]
    rows: Rows
    rng: torch.Generator

    def added(self, low: Float[Tensor, "b 3 q q"]) -> Float[Tensor, "b 3 q q"]:
        """The images with their noise, anew with every call."""
        drawn = self.rows.randn(*low.shape[1:], rng=self.rng)
        return low + (self.level.view(-1, 1, 1, 1) * drawn).to(low)


def of_images(count: int, chosen: NoiseDraw, processes: Processes, *, rng: torch.Generator) -> TaskNoise | None:
    """A batch's noise, of this process's rows; None, and nothing drawn, where there is none."""
    if not chosen.present:
        return None
    own = processes.rows(count)
    return TaskNoise(_levels(count, chosen, rng)[own], Rows(count, own), rng)


def of_tasks(count: int, shots: int, chosen: NoiseDraw, *, rng: torch.Generator) -> list[TaskNoise] | list[None]:
    """The noise of each task, as strong in all of its images; what one task draws changes nothing for the others."""
    if not chosen.present:
        return [None] * count
    levels = _levels(count, chosen, rng)
    seeds = torch.randint(2**62, (count,), generator=rng).tolist()
    return [
        TaskNoise(level.expand(shots), Rows(shots), torch.Generator().manual_seed(seed))
        for level, seed in zip(levels, seeds, strict=True)
    ]


def _levels(count: int, chosen: NoiseDraw, rng: torch.Generator) -> Float[Tensor, " n"]:
    draws = torch.rand(count, 2, generator=rng)
    return torch.where(draws[:, 0] < chosen.noisy, chosen.noise * draws[:, 1] ** 2, 0.0)
