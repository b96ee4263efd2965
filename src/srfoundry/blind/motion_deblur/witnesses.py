"""What speaks for a kernel that was found: the image that a non-blind network restores with it.

Of the right kernel that image has few, sharp edges, and blurred and decimated again it is the image that was observed.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.motion_deblur.freeform import STANDARD, Restore, Search
from srfoundry.degradation import kernels
from srfoundry.networks.nonblind.usrnet import PeriodicObservation


def sparsity_with(
    observation: BlindObservation, kernel: Float[Tensor, "1 k k"], restore: Restore, *, noise: float
) -> float:
    """|grad x|_1 / |grad x|_2 (Krishnan 2011) of what a non-blind network makes of an image, over the root of its size.

    Args:
        observation: the image, as of `find_free_form_kernel`.
        kernel: that it restores with.
        restore: the network, for periodic images.
        noise: standard deviation, range [0, 1], that it is to assume at least.
    """
    with torch.inference_mode():
        search = Search(observation, kernel.shape[-1], STANDARD)
        return search.sparsity(search.restored(kernel.float(), restore, noise=noise).clamp(0, 1))


def residual_with(observation: BlindObservation, kernel: Float[Tensor, "1 k k"], restore: Restore) -> float:
    """Root mean square, range [0, 1], of what an image differs by from its restoration blurred and decimated again.

    A network that denoises makes no waves of a wrong kernel, and then cannot explain the image. Noise need not be
    explained: its variance is taken off.

    Args:
        observation, kernel, restore: as of `sparsity_with`.
    """
    with torch.inference_mode():
        search = Search(observation, kernel.shape[-1], STANDARD)
        image = search.restored(kernel.float(), restore).clamp(0, 1)
        again = PeriodicObservation(search.low, kernels.centred(kernel.float()), search.scale).reduce(image)
        error = (again - search.low).square().mean(dim=1, keepdim=True)
        weight = torch.ones_like(error) if search.weight is None else search.weight
        variance = float((error * weight).sum() / weight.sum()) - (observation.noise or 0.0) ** 2
        return math.sqrt(max(0.0, variance))
