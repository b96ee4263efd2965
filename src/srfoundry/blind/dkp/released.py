"""The published program of DKP and MLMC, which is one, reproduced with its quirks: what other methods are measured by.

It differs from both papers. Each of these is kept, for its stored runs come out of them:
  - the networks are drawn after seeding with 1, whatever the user's seed: they are the same for every image;
  - random kernels come from numpy's legacy stream; other draws, of no effect, use it up;
  - a random kernel is drawn off its place and moved by a cubic spline, which cuts it; its variances are far wider than
    those of the test kernels, and at x8 its centre lies outside of the kernel;
  - the weights are -(1 - p)^2 ln(p + 1e-3) of the share p of the excess error, and do not sum to 1;
  - prior and data term step one after the other with the same Adam moments, in which the prior is lost;
  - SSIM is the loss in 81 of 200 outer iterations (405 image steps; the setting says 80), MSE afterwards;
  - a kernel step is due at every third image step, counted over all, but losses gathered by the end of an outer
    iteration are dropped: 1, 2 and 2 steps in turn.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.dkp.forms import KernelGenerator
from srfoundry.blind.dkp.losses import mirrored_laplacian, ssim_loss
from srfoundry.blind.dkp.released_kernels import random_kernel, released_weights, size_of
from srfoundry.blind.estimate import (
    BlindObservation,
    Estimate,
    Estimator,
    History,
    Resources,
    Row,
    busiest_window,
)
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.state import Log, silent
from srfoundry.degradation import conventions
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging.windows import Box, crop
from srfoundry.networks.nonblind.dip_unet import Skip, default, draw, published

if TYPE_CHECKING:
    import numpy as np


LEVELS = 5  # halvings in G_x, whose deepest level needs two pixels a side at least


@dataclass(frozen=True)
class Program:
    """The values of the program; they are facts, so they stand here.

    Args:
        outer: outer iterations T.
        image_steps: Q an outer iteration.
        period: P, image steps to a kernel step.
        draws: L, random kernels an iteration.
        warm_up: steps of G_k towards random kernels.
        switch: last outer iteration with SSIM, from 0.
        image_rate, kernel_rate: of Adam.
        seed: of numpy's stream.
        convention: whose kernels; `mzsr` puts the prior where this project has its centre, and is else the same.
        window: low-resolution pixels a side that it sees, the busiest; 0 is the whole image, as in the program.
    """

    outer: int = 200
    image_steps: int = 5
    period: int = 3
    draws: int = 5
    warm_up: int = 200
    switch: int = 80
    image_rate: float = 5e-3
    kernel_rate: float = 1e-4
    seed: int = 0
    convention: conventions.Name = "dkp"
    window: int = 0


def run_released_program(
    observation: BlindObservation,
    program: Program,
    *,
    log: Log = silent,
    stream: "np.random.RandomState | None" = None,
    frozen: Float[Tensor, "1 3 H W"] | None = None,
) -> Estimate:
    """Estimate kernel and image as the published program does.

    Args:
        observation: the image; a window of it goes on elsewhere than at its far end: `circular` is `reflect` there.
        program: its values.
        log: takes each outer iteration's losses, and how often each network was updated so far.
        stream: of the random kernels; the program's runs on from image to image. None starts a new one.
        frozen: take this for the image and leave out G_x: shows what becomes of the kernel alone.

    Raises:
        FoundryError: the image is too small.
        Diverged: a loss is not finite.
    """
    import numpy as np

    sampling = observation.sampling
    low, box = busiest_window(observation.low, program.window or max(observation.low.shape[-2:]))
    _check_size(box, sampling.scale, with_image=frozen is None)
    if low.shape != observation.low.shape:
        if frozen is not None:
            top, left, height, width = (sampling.scale * each for each in box)
            frozen = crop(frozen, (top, left, height, width))
        sampling = Sampling(
            sampling.scale, sampling.decimation, "reflect" if sampling.border == "circular" else sampling.border
        )
    stream = np.random.RandomState(program.seed) if stream is None else stream
    run = _Run(low.float(), sampling, program, stream, frozen)
    history = History(log)
    for outer in range(program.outer):
        history.add(outer, run.outer(outer))
    return Estimate(run.kernel, None if frozen is not None else run.image.detach(), box, history.rows)


def estimate_as_released(
    observation: BlindObservation, settings: Estimation, resources: Resources, *, rng: torch.Generator, log: Log
) -> Estimate:
    """As `run_released_program`, with our convention; `rng` is not used: the program has seeds of its own."""
    program = Program(convention="mzsr", window=settings.windows.look)
    return run_released_program(observation, program, log=log)


class _Run:
    """The program's state between outer iterations: networks, stream and counts."""

    def __init__(
        self,
        low: Float[Tensor, "1 3 h w"],
        sampling: Sampling,
        program: Program,
        stream: "np.random.RandomState",
        frozen: Float[Tensor, "1 3 H W"] | None,
    ) -> None:
        self.low, self.sampling, self.program, self.stream = low, sampling, program, stream
        self.image_net = None if frozen is not None else _Image(low, sampling.scale, program)
        self.kernel_net = _Kernel(sampling.scale, program, low.device)
        for _ in range(program.warm_up):
            target = self._random_kernel()[None].to(low)
            self.kernel_net.step(functional.mse_loss(target, self.kernel_net()))
        self.image = frozen.float() if frozen is not None else low  # the latter is replaced before it is looked at
        self.kernel = self.kernel_net().detach()
        self.image_steps = 0  # of all outer iterations, G_x's or not
        self.counts = {"kernel_updates": float(program.warm_up), "image_updates": 0.0}

    def outer(self, number: int) -> Row:
        """One outer iteration; returns its last losses, and the counts.

        Raises:
            Diverged: a loss is not finite.
        """
        data = ssim_loss if number <= self.program.switch else functional.mse_loss
        if self.image_net is not None:
            self.image = self.image_net()  # of this iteration's first image step too: G_x has not changed by then
        self._sampled_step()
        gathered = self.low.new_zeros(())
        image_loss = kernel_loss = gathered
        for inner in range(self.program.image_steps):
            self.image_steps += 1
            made = self.kernel_net()
            self.stream.normal(0, self.stream.uniform(0, 0), tuple(self.low.shape))  # a disturbance of size 0
            if self.image_net is not None:
                self.image = self.image_net() if inner else self.image
                image_loss = data(self._blurred(self.image, made.detach()), self.low)
                self.image_net.step(image_loss + mirrored_laplacian(self.image, self.low.numel()))
                self.counts["image_updates"] += 1
            kernel_loss = data(self._blurred(self.image.detach(), made), self.low)
            gathered = gathered + kernel_loss
            self.kernel = made.detach()
            if self.image_steps % self.program.period == 0:
                self._kernel_step(gathered)
                gathered = self.low.new_zeros(())
        row = {"image": float(image_loss.detach()), "data": float(kernel_loss.detach()), **self.counts}
        if not all(math.isfinite(value) for value in row.values()):
            raise Diverged(f"kernel estimation: got {row} in iteration {number + 1}; the program has no remedy")
        return row

    def _sampled_step(self) -> None:
        """A kernel step on sum w_l MSE(k_l, G_k), with the weights of the image's errors under each random k_l."""
        drawn = [self._random_kernel() for _ in range(self.program.draws)]
        if not drawn:
            return
        kernels, kernel = torch.stack(drawn).to(self.low), self.kernel_net()
        image = self.image.detach()
        errors = torch.stack([functional.mse_loss(self._blurred(image, one[None]), self.low) for one in kernels])
        self._kernel_step((released_weights(errors) * (kernels - kernel).square().mean(dim=(1, 2))).sum())

    def _kernel_step(self, loss: Float[Tensor, ""]) -> None:
        self.kernel_net.step(loss)
        self.counts["kernel_updates"] += 1

    def _blurred(self, image: Tensor, kernel: Tensor) -> Tensor:
        return self.sampling.degrade(image, kernel)

    def _random_kernel(self) -> Float[Tensor, "k k"]:
        return random_kernel(self.sampling.scale, self.stream, self.program.convention)


def _check_size(box: Box, scale: int, *, with_image: bool) -> None:
    """Refuse what the kernel, or the deepest level of G_x, does not fit into."""
    least = max(size_of(scale), 2**LEVELS if with_image else 0) // scale + 1
    if min(box[2:]) < least:
        raise FoundryError(
            f"image of {box[2]}x{box[3]} at scale {scale} is too small for the released network; give {least} pixels a "
            "side or more, or choose another estimate.method"
        )


class _Image:
    """G_x with its code and optimiser, drawn after seeding with 1."""

    def __init__(self, low: Tensor, scale: int, program: Program) -> None:
        rng = torch.Generator().manual_seed(1)
        code = 0.1 * torch.rand(1, 3, *(scale * extent for extent in low.shape[-2:]), generator=rng)
        net = published(draw(Skip, rng=torch.Generator(), device="cpu"), rng).to(low.device)
        # pyright knows no overload with a memory format alone
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.code = code.to(low.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=program.image_rate)

    def __call__(self) -> Float[Tensor, "1 3 H W"]:
        return self.net(self.code)

    def step(self, loss: Float[Tensor, ""]) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class _Kernel:
    """G_k likewise, with the one optimiser that both of its terms share."""

    def __init__(self, scale: int, program: Program, device: torch.device) -> None:
        rng = torch.Generator().manual_seed(1)
        self.code = (0.1 * torch.rand(200, generator=rng)).to(device)
        net = draw(lambda: KernelGenerator(size_of(scale)), rng=torch.Generator(), device="cpu")
        for layer in (net.body[0], net.body[2]):
            default(layer, rng)
        self.net = net.to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=program.kernel_rate)

    def __call__(self) -> Float[Tensor, "1 k k"]:
        return self.net(self.code)

    def step(self, loss: Float[Tensor, ""]) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


RELEASED = Estimator(
    function=estimate_as_released,
    iterations=lambda settings: Program().outer,
    kernel_size=lambda settings, resources, scale: size_of(scale),
)
