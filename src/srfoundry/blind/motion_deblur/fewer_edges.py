"""A kernel of free form, made better through the network that restores with it.

With any kernel a non-blind network returns an image that explains the low-resolution one to its rounding, so the
residual says nothing. But with a wrong kernel that image rings, and with the right one it does not: the taps descend on

    mean log(1 + |grad x(k)|^2 / c^2),    x(k) = restorer(low, k)

through the network, whose weights stay. The least value of all belongs to kernels that leave the image soft, so that
only a few steps are taken, from a kernel that is about right.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FINE = 0.01  # c, range [0, 1]: differences of neighbours from here on count as an edge
# Of taps' logarithms, by Adam.
STEPS, RATE = 4, 0.1
BESIDE, NOWHERE = 0.1, 1e-5  # share that neighbours of a tap get before, and what each tap has at least


def towards_fewer_edges(
    net: nn.Module,
    low: Float[Tensor, "1 c h w"],
    kernel: Float[Tensor, "1 k k"],
    scale: int,
    *,
    noise: float,
    weight: Float[Tensor, "1 1 h w"] | None = None,
    steps: int = STEPS,
    rate: float = RATE,
) -> Float[Tensor, "1 k k"]:
    """Descend from a kernel towards the one whose restored image has the least fine edges.

    Args:
        net: restores periodic images from (low, kernel, scale, noise), differentiable in the kernel.
        low: periodic, range [0, 1].
        kernel: to begin with, sum 1.
        scale: of the enlargement.
        noise: standard deviation of the noise of `low`, range [0, 1].
        weight: how much each pixel of `low` counts; all the same if not given.
        steps: of the descent.
        rate: of each step.

    Returns:
        the kernel, of sum 1 and no negative tap; the one that was given if the descent ends in no number.
    """
    spread = functional.avg_pool2d(kernel[None], 3, stride=1, padding=1)[0]
    with torch.inference_mode(False), torch.enable_grad():
        start = torch.lerp(kernel, spread, BESIDE).clone() + NOWHERE
        seen = low.clone()
        counts = None if weight is None else functional.interpolate(weight.clone(), scale_factor=scale, mode="bilinear")
        logarithms = start.log().requires_grad_()
        optimiser = torch.optim.Adam([logarithms], lr=rate)
        for _ in range(steps):
            image = net(seen, _taps(logarithms), scale, noise)
            (slopes,) = torch.autograd.grad(_edges(image, counts), logarithms)
            logarithms.grad = slopes
            optimiser.step()
        found = _taps(logarithms.detach())
    return found if bool(found.isfinite().all()) else kernel


def _taps(logarithms: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
    return logarithms.flatten().softmax(dim=0).view_as(logarithms)


def _edges(image: Float[Tensor, "1 c H W"], weight: Float[Tensor, "1 1 H W"] | None) -> Float[Tensor, ""]:
    """Mean log(1 + |grad x|^2 / c^2) of the image in grey."""
    grey = image.mean(dim=1, keepdim=True)
    down, right = (grey.roll(-1, axis) - grey for axis in (-2, -1))
    square = down.square() + right.square()
    if weight is not None:
        square = square * weight.square()
    return (square / FINE**2).log1p().mean()
