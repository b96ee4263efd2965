"""Kernels from the mistakes that they cause: restore, hear how the image sounds, correct the kernel, and again.

One image is restored a few times by a non-blind network, each time with a better Gaussian kernel. What to correct tells
a small network (networks/corrector.py) that has heard thousands of photographs, restored with kernels that were wrong
in known ways. Nothing is learned at test time, and no image is ever compared with its original.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.blocks import Estimate, Log, busiest
from srfoundry.blind.dkp.prior import GaussianPrior
from srfoundry.blind.nonblind_restoration import make_periodic
from srfoundry.core.compute import autocast
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.noise_level import known_noise
from srfoundry.networks.nonblind.corrector import Corrector, hear, mirrored
from srfoundry.networks.nonblind.usrnet import Observation, USRNet

MARGIN = 1.5  # guesses may be so many times narrower or wider than the prior's kernels
AVERAGED = 3  # last corrections whose mean is the estimate


@dataclass(frozen=True)
class Settings:
    """How kernels are looked for.

    kernel_size: taps a side, odd. variances: least and largest of the kernels, in multiples of the scale (px^2).
    passes: corrections, each a run of the restorer. look: low-resolution pixels a side that are restored.
    offset: pixels from the middle tap to the kernel's centre, a convention that no image can tell.
    """

    kernel_size: int
    variances: tuple[float, float]
    passes: int = 6
    look: int = 128
    offset: float = 0.0

    def prior(self, scale: int, margin: float = 1.0) -> GaussianPrior:
        """The kernels that may be found, or, with a margin, that may be tried."""
        low, high = (value * scale for value in self.variances)
        return GaussianPrior(self.kernel_size, low / margin, high * margin, self.offset)


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    restorer: USRNet,
    corrector: Corrector,
    border: Border = "reflect",
    noise: float | None = None,
    precision: str = "auto",
    log: Log = lambda step, values: None,
) -> Estimate:
    """Estimate the Gaussian blur kernel of `low` (range [0, 1]) from `low` alone; nothing in it is random.

    Args:
        restorer, corrector: that have been trained together, on one device.
        border: `circular` only for images that were blurred periodically and are seen whole.
        noise: standard deviation of the noise of `low`; estimated if not given.
        log: hears, after each pass, of the size of the correction and of how sure it is.

    Raises:
        FoundryError: the image is too small.
    """
    device = next(restorer.parameters()).device
    if min(low.shape[-2:]) < 8:
        got = f"{low.shape[-2]}x{low.shape[-1]}"
        raise FoundryError(f"image of {got} is too small to estimate a kernel from; give 8x8 pixels or more")
    level = known_noise(low) if noise is None else noise
    box = busiest(low, settings.look)
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]].float().to(device)
    whole = seen.shape == low.shape and border == "circular"
    prior, wider = settings.prior(scale), settings.prior(scale, MARGIN)
    middle = math.log(math.sqrt(prior.low * prior.high))
    shape = torch.tensor([[middle, 0.0, middle]], dtype=torch.float64)
    told = torch.tensor([level], device=device)
    trail: list[Tensor] = []
    history: list[dict[str, float]] = []
    for number in range(settings.passes):
        heard = try_kernels(restorer, seen, shape, told, scale, wider, periodic=whole, precision=precision)
        mean, certainty = posterior(corrector, heard)
        shape = prior.clip(shape + mean.double().cpu())
        trail.append(shape)
        history.append(
            {
                "step": float(number + 1),
                "correction": float(mean.norm()),
                "deviation": float((-certainty / 2).exp().norm()),
            }
        )
        log(number + 1, {key: value for key, value in history[-1].items() if key != "step"})
    kernel = prior.kernels(torch.stack(trail[-AVERAGED:]).mean(dim=0)).float()
    return Estimate(kernel.to(low.device), None, box, history)


@torch.inference_mode()
def posterior(corrector: Corrector, heard: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"]]:
    """Mean and log precision of the kernel's error, over the mirror images of what was heard."""
    means, certainties = [], []
    for transposed in (False, True):
        for flipped in (False, True):
            turned, signs, order = mirrored(heard, transposed=transposed, flipped=flipped)
            mean, certainty = corrector(turned)
            means.append((mean * signs)[:, order])
            certainties.append(certainty[:, order])
    return torch.stack(means).mean(dim=0), torch.stack(certainties).mean(dim=0)


@torch.inference_mode()
def try_kernels(
    restorer: USRNet,
    low: Float[Tensor, "b 3 h w"],
    shape: Float[Tensor, "b 3"],
    noise: Float[Tensor, " b"],
    scale: int,
    prior: GaussianPrior,
    *,
    periodic: bool,
    precision: str,
) -> Float[Tensor, "b n"]:
    """Restore images with kernels of these shapes, and return what the corrector hears of that."""
    kernel = prior.kernels(prior.clip(shape)).float().to(low.device)
    height, width = low.shape[-2:]
    seen = low if periodic else make_periodic(low, kernel.shape[-1], scale)
    with autocast(low.device, precision):
        restored = restorer(seen, kernel, scale, noise).float()
    again = Observation(seen, kernel, scale).reduce(restored.clamp(0, 1))[..., :height, :width]
    return hear(restored[..., : scale * height, : scale * width], again - low, shape.to(low.device), noise, scale)
