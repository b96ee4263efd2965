"""Training of a non-blind network (USRNet): photographs, random kernels and noise in, the photographs back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind.nonblind_restoration import VARIANCES, trained_size
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels, operator
from srfoundry.imaging import images, metrics, resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent, PatchDraw

SOFT = 0.3  # share of soft photographs where there are any
SHAKEN = 25  # taps a side, at least, where motion blurs are among the kernels


@dataclass(frozen=True)
class Pairs:
    """What the network is shown: low-resolution images, what it is told of them, and what it shall find."""

    low: Float[Tensor, "b 3 h w"]
    kernel: Float[Tensor, "b k k"]
    noise: Float[Tensor, " b"]
    high: Float[Tensor, "b 3 H W"]
    scale: int


def roomy(patches: Patches, patch: int) -> Patches | None:
    """The photographs, if any, that a patch twice as large (or as the set's first reduction is) can be cut from."""
    least = patches.factors[1] * patch
    large = [entry["name"] for entry in patches.entries if min(entry["height"], entry["width"]) >= least]
    return patches.only(large) if large else None


def draw_high(
    patches: Patches, large: Patches | None, *, count: int, patch: int, octave: float, rng: torch.Generator
) -> Float[Tensor, "b 3 p p"]:
    """Random patches of photographs, a share of `octave` of them at half size where `large` has any."""
    halved = round(count * octave) if large is not None else 0
    parts = []
    if halved < count:
        parts.append(patches.batch(count - halved, patch, rng=rng, factors=[1])[1])
    if large is not None and halved:
        step = large.factors[1]
        parts.append(large.batch(halved, step * patch, rng=rng, factors=[step])[step])
    return torch.cat(parts)


def soften(high: Float[Tensor, "b 3 p p"], softness: float, *, rng: torch.Generator) -> Float[Tensor, "b 3 p p"]:
    """Blur a share of SOFT of the images as a lens, a demosaicing or an earlier enlargement may have; to 8 bits.

    Args:
        softness: largest variance of these blurs, px^2; they are round Gaussians.
    """
    draws = torch.rand(len(high), 2, generator=rng, dtype=torch.float64)
    variance = draws[:, 1] * softness + 1e-3  # a Gaussian of no width is none
    blur = kernels.gaussian(7, variance, variance, torch.zeros_like(variance)).float()
    blurred = images.from_uint8(images.to_uint8(operator.degrade(high, blur, 1, border="circular")))
    return torch.where((draws[:, 0] < SOFT).view(-1, 1, 1, 1), blurred, high)


def pairs(
    patches: Patches,
    large: Patches | None,
    *,
    scale: int,
    kernel: Float[Tensor, "b k k"],
    patch: int,
    octave: float,
    noise: float,
    softness: float = 0.0,
    rng: torch.Generator,
) -> Pairs:
    """Degrade random patches, one with each kernel: y = (x * k) down_s + n, periodic, in 8 bits.

    Args:
        large: the `roomy` ones of the photographs. octave: share of the patches that show one of these at half size.
        noise: largest standard deviation, range [0, 1]; half of the images have none.
        softness: see `soften`; 0 leaves the photographs as they are.
    """
    count = len(kernel)
    high = draw_high(patches, large, count=count, patch=patch, octave=octave, rng=rng)
    if softness:
        high = soften(high, softness, rng=rng)
    level = torch.rand(count, 2, generator=rng)
    level = torch.where(level[:, 0] < 0.5, 0.0, noise * level[:, 1])
    low = operator.degrade(high, kernel, scale, border="circular")
    low = low + level.view(-1, 1, 1, 1) * torch.randn(low.shape, generator=rng)
    return Pairs(images.from_uint8(images.to_uint8(low)), kernel, level, high, scale)


def draw_kernels(count: int, *, scale: int, motion: float, rng: torch.Generator) -> Float[Tensor, "n k k"]:
    """Gaussians of FKP's range and, in a share of about `motion`, lines and trajectories, in random order."""
    size = trained_size(scale) if motion == 0 else max(trained_size(scale), SHAKEN)
    narrowest, widest = VARIANCES
    draws = torch.rand(count, 4, generator=rng, dtype=torch.float64)
    first, second = ((narrowest + draws[:, axis] * (widest - narrowest)) * scale for axis in (0, 1))
    found = kernels.gaussian(size, first, second, draws[:, 2] * torch.pi).float()
    for index, chance in enumerate((draws[:, 3] / motion).tolist() if motion else ()):
        if chance < 1:
            draw = kernels.draw_line if chance < 0.3 else kernels.draw_trajectory
            found[index] = draw(1, size=size, scale=scale, rng=rng)[0][0]
    return found


def train(
    net: USRNet,
    patches: Patches,
    draws: PatchDraw,
    descent: Descent,
    *,
    scales: Sequence[int],
    noise: float,
    motion: float,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train with L1 (Adam, warm-up, cosine to zero), the scales in turns; `net` ends with its averaged weights."""
    large = roomy(patches, draws.patch)
    optimisation = Optimisation(net, nn.Module(), descent)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng, device = stream.rng(index), compute.device
        scale = scales[index % len(scales)]
        kernel = draw_kernels(draws.batch, scale=scale, motion=motion, rng=rng)
        drawn = pairs(
            patches, large, scale=scale, kernel=kernel, patch=draws.patch, octave=draws.octave, noise=noise, rng=rng
        )
        with compute.autocast():
            restored = net(drawn.low.to(device), drawn.kernel.to(device), drawn.scale, drawn.noise.to(device))
        loss = (restored - drawn.high.to(device)).abs().mean()
        rate = restarted(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update({"total": loss}, rate)

    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=stream.name)
    optimisation.finish()
    return history


def validate(
    net: USRNet, patches: Patches, *, scale: int, device: torch.device, variances: Sequence[float] = (0.5, 2.0)
) -> dict[str, float]:
    """PSNR-Y in dB with the true kernel, and its gain over bicubic enlargement, on the photographs of a set.

    Args:
        variances: of the Gaussian that blurs them, along and across 30 degrees, in multiples of the scale.
    """
    blur = [*(scale * variance for variance in variances), torch.pi / 6]
    along, across, angle = torch.tensor([blur], dtype=torch.float64).T
    kernel = kernels.gaussian(trained_size(scale), along, across, angle).float()
    names = patches.photographs()
    restored, enlarged = 0.0, 0.0
    with torch.inference_mode():
        for name in names:
            whole = patches.image(name)
            high = whole[..., : whole.shape[-2] // scale * scale, : whole.shape[-1] // scale * scale]
            low = operator.degrade(high, kernel, scale, border="circular")
            low = images.from_uint8(images.to_uint8(low))
            image = net(low.to(device), kernel.to(device), scale).cpu()
            restored += metrics.psnr_y(image, high, scale) / len(names)
            enlarged += metrics.psnr_y(resize.cubic(low, scale), high, scale) / len(names)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}
