"""One image's estimation, set up: the blocks of `engine` around one low-resolution image, and how they end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.dkp import stop
from srfoundry.blind.dkp.families import Score
from srfoundry.blind.dkp.kernel_network import (
    Data,
    Estimate,
    ImageNet,
    KernelNet,
    Log,
    Losses,
    Row,
    Sampling,
    Settings,
    busiest,
    check,
    finish,
    numbers,
    residual_score,
)
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import Decimation, degrade


@dataclass
class Problem:
    """The blocks, what they look at, and what they found so far."""

    settings: Settings
    sampling: Sampling
    kernel_net: KernelNet
    image_net: ImageNet | None
    data: Data
    seen: Float[Tensor, "1 3 h w"]
    box: tuple[int, int, int, int]
    scale: int
    physics: dict[str, str]
    visible: Tensor | None
    watch: stop.Watch
    history: list[Row]
    log: Log
    current: Callable[[], Tensor]
    """The kernel so far: the kernel network's, unless a method has another way."""

    def share(self, iteration: int) -> float:
        """How much of the iterations is over, 0 to 1."""
        return iteration / max(1, self.settings.iterations - 1)

    def blurred(self, kernel: Tensor, image: Tensor) -> Tensor:
        """(x * k) down."""
        return degrade(image, kernel, self.scale, **self.physics)  # pyright: ignore[reportArgumentType]

    def residual(self) -> Score | None:
        """Scores kernels by the image so far, if that is asked for and there is one."""
        if self.image_net is None or self.settings.likelihood == "spectrum":
            return None
        return residual_score(self.image_net.image(), self.seen, self.scale, self.settings.noise, **self.physics)

    def restore(self, steps: int) -> Losses:
        """IR steps with the kernel so far."""
        if self.image_net is None:
            return {}
        kernel = self.current().detach()
        return self.image_net.improve(kernel, steps, self._level(kernel))

    def _level(self, kernel: Tensor) -> Tensor | None:
        if not self.settings.fade or self.image_net is None:
            return None
        with torch.no_grad():
            return functional.mse_loss(self.blurred(kernel, self.image_net.image()), self.seen)

    def hear(self, iteration: int, losses: Mapping[str, Tensor | float]) -> bool:
        """Write an iteration down; returns whether to stop.

        Raises:
            Diverged: a loss is not finite.
        """
        row = numbers(losses, iteration)
        done = False
        if self.settings.stop != "none" and self.image_net is not None:
            kernel, image = self.current().detach(), self.image_net.image()
            with torch.no_grad():
                error = stop.held_error(self.blurred(kernel, image), self.seen, self.visible)
            done, row["stop"] = self.watch.hear(iteration, kernel, image, error)
        self.history.append({"step": float(iteration + 1), **row})
        self.log(iteration + 1, row)
        return done

    def end(self) -> Estimate:
        """The last iterate, or the one that the stopping rule chose."""
        kernel = self.current()
        restored = None if self.image_net is None else self.image_net.image()
        if self.watch.kept is not None:
            kernel, restored = self.watch.kept
        kernel, restored = finish(kernel, restored, self.settings)
        return Estimate(kernel, restored, self.box, self.history)


def start(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    rng: torch.Generator,
    decimation: Decimation,
    border: Border,
    log: Log,
    bank: Float[Tensor, "n k k"] | None,
) -> Problem:
    """Draw the networks and make ready.

    Raises:
        FoundryError: the image is too small, or the settings ask for what is not there.
    """
    prior = settings.prior(scale, bank)
    check(low, scale, prior.size)
    low = low.float()
    box = busiest(low, settings.window)
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    visible = stop.mask(seen, settings.stop, rng)

    def data(kernel: Tensor, image: Tensor) -> Tensor:
        made = degrade(image, kernel, scale, decimation=decimation, border=border)
        if visible is None:
            return ssim_loss(made, seen)
        return ssim_loss(made * visible, seen * visible)

    sampling = Sampling(low, scale, prior, settings, rng)
    kernel_net = KernelNet(prior, settings, rng, low.device)
    image_net = ImageNet(seen, scale, data, settings, rng) if settings.image_steps else None
    physics: dict[str, str] = {"decimation": decimation, "border": border}
    watch = stop.Watch(settings.stop, settings.patience)
    return Problem(
        settings=settings,
        sampling=sampling,
        kernel_net=kernel_net,
        image_net=image_net,
        data=data,
        seen=seen,
        box=box,
        scale=scale,
        physics=physics,
        visible=visible,
        watch=watch,
        history=[],
        log=log,
        current=kernel_net.kernel,
    )
