"""Zero-shot adaptation: a few gradient steps on one image's own reduced copy, and restoring with what they give.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, third phase. Inputs of the network are
enlarged low-resolution images (MATLAB bicubic, not clipped); every loss is a mean absolute error over all elements.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry import degrade, images, metrics, resize
from srfoundry.dataset import Patches
from srfoundry.errors import FoundryError
from srfoundry.fit import autocast

Weights = dict[str, Tensor]


def adapt(
    net: nn.Module,
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    rates: Sequence[float],
    weights: Weights | None = None,
    decimation: degrade.Decimation = "direct",
    noise: float = 0.0,
    rng: torch.Generator | None = None,
) -> tuple[Weights, list[float]]:
    """Adapt to one image by plain gradient descent on its own LR son (MZSR alg. 2, lines 1 to 5).

    Args:
        kernel: the blur; None means that the image was made by MATLAB's bicubic.
        rates: step size of each step; their number is the number of steps.
        weights: where to start; the network's own if not given.
        decimation: how the image was reduced after the blur, and how its son is.
        noise: standard deviation of noise put on the son (helps on noisy images).

    Returns:
        The adapted weights, and the loss before each step. If a step diverges, the best weights so far are returned.

    Raises:
        FoundryError: the image is too small to have a son.
    """
    target = low[..., : low.shape[-2] // scale * scale, : low.shape[-1] // scale * scale]
    least = 8 * scale
    if min(target.shape[-2:]) < least:
        raise FoundryError(
            f"image of {tuple(low.shape[-2:])} is too small to adapt on; {least} pixels a side are the least"
        )
    son = degrade.son(target, kernel, scale, decimation=decimation, noise=noise, rng=rng)
    enlarged = resize.cubic(son, scale, size=(target.shape[-2], target.shape[-1]))
    enlarged = enlarged.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
    weights = {name: value.detach() for name, value in (weights or dict(net.named_parameters())).items()}
    best, losses = weights, []
    for rate in rates:
        weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
        loss = mean_absolute_error(net, weights, enlarged, target)
        slope = torch.autograd.grad(loss, list(weights.values()))
        if not math.isfinite(float(loss.detach())) or (losses and float(loss.detach()) > 2 * losses[0]):
            return best, losses
        if not losses or float(loss.detach()) <= min(losses):
            best = {name: value.detach() for name, value in weights.items()}
        losses.append(float(loss.detach()))
        weights = {name: value - rate * g for (name, value), g in zip(weights.items(), slope, strict=True)}
    return {name: value.detach() for name, value in weights.items()}, losses


def restore(
    net: nn.Module, low: Float[Tensor, "1 3 h w"], scale: int, *, weights: Weights | None = None
) -> Float[Tensor, "1 3 H W"]:
    """Super-resolve with given (adapted) weights or the network's own; clipped to [0, 1]."""
    with torch.no_grad():
        enlarged = resize.cubic(low, scale).contiguous(memory_format=torch.channels_last)
        restored = net(enlarged) if weights is None else functional_call(net, weights, (enlarged,))
        return restored.clamp(0, 1)


def validate(
    net: nn.Module,
    patches: Patches,
    scale: int,
    *,
    device: torch.device,
    kernel: Float[Tensor, "1 k k"] | None = None,
    rates: Sequence[float] = (),
) -> dict[str, float]:
    """PSNR-Y in dB on whole photographs after adaptation to each, and its gain over MATLAB's bicubic.

    Args:
        kernel: photographs are degraded directly with it, to 8 bits; None means the set's own bicubic reduction.
        rates: step sizes of the adaptation; none means none.
    """
    restored, enlarged = 0.0, 0.0
    names = patches.photographs()
    for name in names:
        high = patches.image(name)
        low = patches.image(name, scale)
        if kernel is not None:
            low = images.from_uint8(images.to_uint8(degrade.degrade(high, kernel, scale)))
        low = low.to(device)
        weights, _ = adapt(net, low, kernel, scale, rates=rates)
        restored += metrics.psnr_y(restore(net, low, scale, weights=weights).cpu(), high, scale) / len(names)
        enlarged += metrics.psnr_y(resize.cubic(low, scale).cpu(), high, scale) / len(names)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}


def mean_absolute_error(
    net: nn.Module, weights: Weights, enlarged: Tensor, target: Tensor, precision: str = "float32"
) -> Float[Tensor, ""]:
    """Loss of the network with the given weights; the convolutions may run in bfloat16, the mean never does."""
    with autocast(enlarged.device, precision):
        restored = functional_call(net, weights, (enlarged,))
    return (restored.float() if restored.dtype == torch.bfloat16 else restored).sub(target).abs().mean()
