"""What a learned step to a kernel looks at, and the step itself (`networks.nonblind.kernel_step`)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.motion_deblur import taps
from srfoundry.degradation import kernels
from srfoundry.networks.nonblind.kernel_step import BASE, LEVEL, ROOT, KernelStep

STRENGTHS = ((3e-3, 0.1), (3e-3, 0.03), (1e-3, 5e-3))  # ridge and smoothness of the least squares (`taps.solve`)
DESCENT = 100  # steps of each
RESIDUAL, NOISE = 20.0, 30.0  # that these are multiplied by


def seen_of(
    normal: taps.Equations, before: Float[Tensor, "1 k k"], *, scale: int, noise: float
) -> Float[Tensor, "1 c k k"]:
    """What the network sees of the equations of taps.

    Args:
        normal: of an image that was restored with `before`.
        before: the kernel, centred.
        scale: of the reduction.
        noise: of the observed image, standard deviation, range [0, 1].
    """
    size = before.shape[-1]
    fits = [taps.solve(normal, ridge=ridge, smooth=smooth, steps=DESCENT) for ridge, smooth in STRENGTHS]
    every = torch.cat([before.float(), *fits])
    gram, right = (part / normal[0].diagonal().mean() for part in normal)
    base = every[BASE].flatten().to(gram)
    middle = gram[len(gram) // 2]
    maps = [(right - gram @ base) * RESIDUAL, middle, right]
    drawn = [each.view(1, size, size).float() for each in maps]
    known = every.new_tensor([math.log2(scale) - 1, NOISE * noise]).view(2, 1, 1).expand(2, size, size)
    return torch.cat([LEVEL * every, ROOT * every.clamp_min(0).sqrt(), *drawn, known])[None]


def learned_taps(
    net: KernelStep, normal: taps.Equations, before: Float[Tensor, "1 k k"], scale: int, noise: float
) -> Float[Tensor, "1 k k"]:
    """The next kernel: the mean over what the network makes of the equations turned and mirrored.

    Args:
        net: that was trained for it.
        normal, scale, noise: as of `seen_of`.
        before: the kernel that the image was restored with, wherever its centre of mass lies.
    """
    seen = seen_of(normal, kernels.centred(before), scale=scale, noise=noise)
    views = [view.rot90(turns, (-2, -1)) for view in (seen, seen.flip(-1)) for turns in range(4)]
    found = [kernel.rot90(-turns % 4, (-2, -1)) for turns, kernel in enumerate(net(torch.cat(views))[:, None])]
    return torch.stack([*found[:4], *(kernel.flip(-1) for kernel in found[4:])]).mean(dim=0)
