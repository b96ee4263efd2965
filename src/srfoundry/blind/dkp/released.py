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
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.dkp.families import KernelGenerator, released_weights
from srfoundry.blind.dkp.kernel_network import Estimate, Log, busiest
from srfoundry.blind.dkp.losses import mirrored_laplacian, ssim_loss
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.degradation import conventions
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import Decimation, degrade
from srfoundry.networks.nonblind.dip_unet import Skip, default, draw, published

if TYPE_CHECKING:
    import numpy as np


LEVELS = 5  # halvings in G_x, whose deepest level needs two pixels a side at least


@dataclass(frozen=True)
class Settings:
    """The values of the program; they are facts, so they stand here.

    outer, image_steps: T and Q. period: P, image steps to a kernel step. draws: L, random kernels an iteration.
    warm_up: steps of G_k towards random kernels. switch: last outer iteration with SSIM, from 0. image_rate,
    kernel_rate: of Adam. seed: of numpy's stream. convention: whose kernels; `mzsr` puts the prior where this house
    wants its centre, and is else the same. window: low-resolution pixels a side that it sees, the busiest; 0 is the
    whole image, as in the program.
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


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "circular",
    log: Log = lambda step, values: None,
    stream: "np.random.RandomState | None" = None,
    frozen: Float[Tensor, "1 3 H W"] | None = None,
) -> Estimate:
    """Estimate kernel and image of `low` (range [0, 1]) as the published program does.

    Args:
        border: of the whole image; a window goes on elsewhere than at its far end: `circular` is `reflect` there.
        rng: not used: the program's seeds are 1 and `settings.seed`.
        log: hears of each outer iteration: losses, and how often each network was updated so far.
        stream: of the random kernels; the program's runs on from image to image. None starts a new one.
        frozen: take this for the image and leave out G_x: shows what becomes of the kernel alone.

    Raises:
        FoundryError: the image is too small. Diverged: a loss is not finite.
    """
    import numpy as np

    box = busiest(low, settings.window or max(low.shape[-2:]))
    _check(box, scale, with_image=frozen is None)
    if box[2:] != tuple(low.shape[-2:]):
        low = _cut(low, box)
        frozen = None if frozen is None else _cut(frozen, box, scale)
        border = "reflect" if border == "circular" else border
    low = low.float()
    stream = np.random.RandomState(settings.seed) if stream is None else stream
    image_net = None if frozen is not None else _Image(low, scale, settings)
    kernel_net = _Kernel(scale, settings, low.device)
    for _ in range(settings.warm_up):
        target = random_kernel(scale, stream, settings.convention)[None].to(low)
        kernel_net.step(functional.mse_loss(target, kernel_net()))

    def blurred(image: Tensor, kernel: Tensor) -> Tensor:
        return degrade(image, kernel, scale, decimation=decimation, border=border)

    history: list[dict[str, float]] = []
    counts = {"kernel_updates": float(settings.warm_up), "image_updates": 0.0}
    image = frozen.float() if frozen is not None else low  # the latter is replaced before it is looked at
    kernel = kernel_net().detach()
    step = 0
    for outer in range(settings.outer):
        data = ssim_loss if outer <= settings.switch else functional.mse_loss
        if image_net is not None:
            image = image_net()  # of this iteration's first image step too: G_x has not changed by then
        drawn = [random_kernel(scale, stream, settings.convention) for _ in range(settings.draws)]
        if drawn:
            kernel_net.step(_weighted(torch.stack(drawn).to(low), kernel_net(), image.detach(), low, blurred))
            counts["kernel_updates"] += 1
        gathered = low.new_zeros(())
        image_loss = kernel_loss = gathered
        for inner in range(settings.image_steps):
            step += 1
            made = kernel_net()
            stream.normal(0, stream.uniform(0, 0), tuple(low.shape))  # a disturbance of size 0
            if image_net is not None:
                image = image_net() if inner else image
                image_loss = data(blurred(image, made.detach()), low)
                image_net.step(image_loss + mirrored_laplacian(image, low.numel()))
                counts["image_updates"] += 1
            kernel_loss = data(blurred(image.detach(), made), low)
            gathered = gathered + kernel_loss
            kernel = made.detach()
            if step % settings.period == 0:
                kernel_net.step(gathered)
                counts["kernel_updates"] += 1
                gathered = low.new_zeros(())
        row = {"image": float(image_loss.detach()), "data": float(kernel_loss.detach()), **counts}
        if not all(math.isfinite(value) for value in row.values()):
            raise Diverged(f"kernel estimation: got {row} in iteration {outer + 1}; the program has no remedy")
        history.append({"step": float(outer + 1), **row})
        log(outer + 1, row)
    return Estimate(kernel, None if image_net is None else image.detach(), box, history)


def size_of(scale: int) -> int:
    """Taps a side of the program's kernels: 11, 15, 19, 21 at x2, x3, x4, x8."""
    return min(4 * scale + 3, 21)


def centre_of(scale: int, convention: conventions.Name = "dkp") -> float:
    """Row and column of the prior's centre of mass: (K - s) / 2, but 13.5 instead of 6.5 at x8."""
    return 1.5 * (scale + 1) if convention == "dkp" else conventions.get(convention).centre(size_of(scale), scale)


def variances_of(scale: int) -> tuple[float, float]:
    """Least and largest variance of the prior in square pixels: 1.35 to 13 at x2, 3.7 to 20 at x4."""
    return 0.175 * scale + 3 + (scale - 4), min(2.5 * scale, 10) + 10 + (scale - 4)


def random_kernel(
    scale: int, stream: "np.random.RandomState", convention: conventions.Name = "dkp"
) -> Float[Tensor, "k k"]:
    """Draw one of the program's random Gaussians."""
    size, (low, high) = size_of(scale), variances_of(scale)
    first = low + stream.rand() * (high - low)
    second = low + stream.rand() * (high - low)
    angle = stream.rand() * math.pi
    stream.rand(size, size)  # noise of level 0 on the taps
    return moved_gaussian(scale, first, second, angle, centre_of(scale, convention))


def moved_gaussian(
    scale: int, first: float, second: float, angle: float, centre: float | None = None
) -> Float[Tensor, "k k"]:
    """A Gaussian of these variances, drawn (s - 1) / 2 pixels right of and below the middle and moved to `centre`.

    The move is a cubic spline's with zeros outside: a wide kernel loses its right and lower rim.
    """
    import numpy as np
    from scipy import ndimage

    size = size_of(scale)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([first, second]) @ turn.T)
    axis = np.arange(size) - (size // 2 + 0.5 * (scale - size % 2))
    place = np.stack(np.meshgrid(axis, axis), axis=-1)
    drawn = np.exp(-0.5 * np.einsum("rci,ij,rcj->rc", place, inverse, place))
    wanted = (size - scale) / 2 if centre is None else centre
    now = np.array(ndimage.center_of_mass(drawn), dtype=float)
    moved = ndimage.shift(drawn, wanted - now)
    return torch.from_numpy(moved / moved.sum()).float()


def _check(box: tuple[int, int, int, int], scale: int, *, with_image: bool) -> None:
    """Refuse what the kernel, or the deepest level of G_x, does not fit into."""
    least = max(size_of(scale), 2**LEVELS if with_image else 0) // scale + 1
    if min(box[2:]) < least:
        raise FoundryError(
            f"image of {box[2]}x{box[3]} at scale {scale} is too small for the released network; give {least} pixels a "
            "side or more, or choose another estimate.method"
        )


def _cut(image: Tensor, box: tuple[int, int, int, int], scale: int = 1) -> Tensor:
    top, left, height, width = (scale * each for each in box)
    return image[..., top : top + height, left : left + width]


def _weighted(
    drawn: Float[Tensor, "n k k"],
    kernel: Float[Tensor, "1 k k"],
    image: Float[Tensor, "1 3 H W"],
    low: Float[Tensor, "1 3 h w"],
    blurred: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, ""]:
    """sum w_l MSE(k_l, G_k), with the weights of the errors that `image` has under each k_l."""
    errors = torch.stack([functional.mse_loss(blurred(image, one[None]), low) for one in drawn])
    return (released_weights(errors) * (drawn - kernel).square().mean(dim=(1, 2))).sum()


class _Image:
    """G_x with its code and optimiser, drawn after seeding with 1."""

    def __init__(self, low: Tensor, scale: int, settings: Settings) -> None:
        rng = torch.Generator().manual_seed(1)
        code = 0.1 * torch.rand(1, 3, *(scale * extent for extent in low.shape[-2:]), generator=rng)
        net = published(draw(Skip, rng=torch.Generator(), device="cpu"), rng).to(low.device)
        # pyright knows no overload with a memory format alone
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.code = code.to(low.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.image_rate)

    def __call__(self) -> Float[Tensor, "1 3 H W"]:
        return self.net(self.code)

    def step(self, loss: Float[Tensor, ""]) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


class _Kernel:
    """G_k likewise, with the one optimiser that both of its terms share."""

    def __init__(self, scale: int, settings: Settings, device: torch.device) -> None:
        rng = torch.Generator().manual_seed(1)
        self.code = (0.1 * torch.rand(200, generator=rng)).to(device)
        net = draw(lambda: KernelGenerator(size_of(scale)), rng=torch.Generator(), device="cpu")
        for layer in (net.body[0], net.body[2]):
            default(layer, rng)
        self.net = net.to(device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.kernel_rate)

    def __call__(self) -> Float[Tensor, "1 k k"]:
        return self.net(self.code)

    def step(self, loss: Float[Tensor, ""]) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
