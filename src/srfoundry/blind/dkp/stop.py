"""When to stop without ground truth, and which iterate to keep: an untrained image network fits noise in the end."""

from collections import deque
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.settings import Rule, Stopping

HELD = 0.05  # share of the low-resolution pixels that nothing is fitted to


@dataclass
class Monitor:
    """Keeps the iterate of the least figure, and says when it has not fallen for `patience` iterations.

    `variance` (ES-WMV, Wang et al. 2021): the figure is the variance of the image over the last `window` iterations,
    which falls while the image settles and rises when it begins to follow the noise. `held_out`: it is the squared
    error at low-resolution pixels that were kept from the losses. `none`: the last iterate is kept.

    Attributes:
        best: the least figure so far.
        at: the iteration that it is of.
        kept: kernel and image of that iteration.
    """

    stopping: Stopping
    window: int = 5
    best: float = float("inf")
    at: int = 0
    kept: tuple[Tensor, Tensor] | None = None
    images: deque[Tensor] = field(default_factory=deque)

    def record(self, step: int, kernel: Tensor, image: Tensor, error: Tensor) -> tuple[bool, float]:
        """Take an iterate into account; returns whether to stop, and its figure.

        Args:
            step: number of the iteration.
            kernel: that the image belongs to.
            image: the iteration's.
            error: squared, at the held-out pixels.
        """
        figure = float(error)
        if self.stopping.stop == "variance":
            self.images.append(image.detach())
            if len(self.images) > self.window:
                self.images.popleft()
            if len(self.images) < self.window:
                return False, float("nan")
            figure = float(torch.stack(tuple(self.images)).var(dim=0, correction=0).mean())
        if figure < self.best:
            self.best, self.at, self.kept = figure, step, (kernel.detach().clone(), image.detach().clone())
        return self.stopping.stop != "none" and step - self.at >= self.stopping.patience, figure


def held_out_mask(like: Float[Tensor, "1 c h w"], rule: Rule, rng: torch.Generator) -> Float[Tensor, "1 1 h w"] | None:
    """1 at the pixels that count in the losses, 0 at those held out; None if none are."""
    if rule != "held_out":
        return None
    draws = torch.rand(1, 1, *like.shape[-2:], generator=rng)
    visible = (draws >= HELD).float()
    if bool(visible.all()):
        visible[..., int(draws.argmin()) // like.shape[-1], int(draws.argmin()) % like.shape[-1]] = 0.0
    return visible.to(like.device)


def held_out_error(
    made: Float[Tensor, "1 c h w"], low: Float[Tensor, "1 c h w"], visible: Float[Tensor, "1 1 h w"] | None
) -> Float[Tensor, ""]:
    """Mean squared error at the held-out pixels; 0 if there are none."""
    if visible is None:
        return made.new_zeros(())
    hidden = (1 - visible).expand_as(low)
    return (functional.mse_loss(made, low, reduction="none") * hidden).sum() / hidden.sum()
