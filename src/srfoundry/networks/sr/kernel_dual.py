"""A dual map that is given rather than learned: blur with an estimated kernel, then decimation.

With it the dual term asks that the restored image, degraded as its input was, gives that input: what a real
low-resolution image without a photograph can still train.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.degradation import kernels, operator

LEAST = 1e-6  # share that a tap which is 0 starts from when it may be learned: the softmax cannot give 0


class KernelDual(nn.Module):
    """D(y) = (y * k) downsampled by s, from the last image straight to the input's size; the operator of `degradation`.

    Fixed, or with `learn` the softmax of trained logits: the kernel stays one, its taps positive with sum 1. Never runs
    in half precision. `KernelDual.of(kernel, ...)` makes one of an estimate; the keywords alone rebuild it from a file.
    """

    def __init__(
        self, *, scale: int, size: int, decimation: operator.Decimation = "direct", learn: bool = False
    ) -> None:
        super().__init__()
        self.scale, self.learn = scale, learn
        self.decimation: operator.Decimation = decimation
        even = torch.full((size, size), 1 / size**2)
        if learn:
            self.logits = nn.Parameter(even.log())
        else:
            self.register_buffer("taps", even)

    @classmethod
    def of(
        cls,
        kernel: Float[Tensor, "1 k k"],
        *,
        scale: int,
        decimation: operator.Decimation = "direct",
        learn: bool = False,
    ) -> "KernelDual":
        """The dual of a kernel (MZSR's convention, sum 1); with `learn` it starts there.

        Raises:
            FoundryError: the kernel does not sum to 1, or is no square of finite taps.
        """
        kernels.check(kernel)
        made = cls(scale=scale, size=kernel.shape[-1], decimation=decimation, learn=learn)
        taps = kernel.detach()[0].to(torch.float32)
        with torch.no_grad():
            if learn:
                made.logits.copy_(taps.clamp_min(LEAST).log())
            else:
                made.get_buffer("taps").copy_(taps)
        return made

    @property
    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel as it is now."""
        taps = torch.softmax(self.logits.flatten(), 0).view_as(self.logits) if self.learn else self.get_buffer("taps")
        return taps[None]

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        """[D(y)] of the last image y of the list."""
        image = images[-1]
        with torch.autocast(image.device.type, enabled=False):
            wide = image.float() if image.dtype == torch.bfloat16 else image
            return [operator.degrade(wide, self.kernel, self.scale, decimation=self.decimation)]
