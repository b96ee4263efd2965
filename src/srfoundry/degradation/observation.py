"""How a low-resolution image came about, y = (x * k) downsampled by s + n, as one object that travels whole."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation import operator
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import Decimation
from srfoundry.imaging import light, resize


@dataclass(frozen=True)
class Sampling:
    """What is known of a degradation before its kernel is: how the blurred image was reduced.

    Attributes:
        scale: 1 or more.
        decimation: `direct` keeps the first pixel of each s x s block; `bicubic` is MATLAB's reduction after the blur.
        border: what the blur saw outside of the image; `reflect` mirrors including the edge pixel.
        light: blur and reduction acted on light, as in a camera, and not on the encoded levels; `degrade` alone knows.
    """

    scale: int
    decimation: Decimation = "direct"
    border: Border = "reflect"
    light: bool = False

    def degrade(
        self, image: Float[Tensor, "b c H W"], kernel: Float[Tensor, "n k k"] | None
    ) -> Float[Tensor, "b c h w"]:
        """A x: blurred and reduced, neither rounded nor clipped; no kernel means MATLAB's bicubic alone."""
        if self.light:
            return light.from_light(replace(self, light=False).degrade(light.to_light(image), kernel))
        if kernel is None:
            return resize.cubic(image, 1 / self.scale)
        return operator.degrade(image, kernel, self.scale, decimation=self.decimation, border=self.border)

    def adjoint(
        self, low: Float[Tensor, "b c h w"], kernel: Float[Tensor, "n k k"], size: tuple[int, int]
    ) -> Float[Tensor, "b c H W"]:
        """A' y.

        Args:
            low: y.
            kernel: the blur.
            size: height and width of the result.
        """
        return operator.adjoint(low, kernel, self.scale, size, decimation=self.decimation, border=self.border)


@dataclass(frozen=True)
class Observation:
    """A low-resolution image and what is known, or assumed, of how it came about.

    Attributes:
        low: the image y, range [0, 1].
        kernel: the blur k, MZSR's convention; None means that MATLAB's bicubic made the image.
        sampling: scale, decimation and border.
        noise: standard deviation of n, in the image's range.
        kernel_error: standard deviation of the logarithm of the kernel's variances: how wrong its width may be, 0.25
            for a quarter; 0 where it is known.
    """

    low: Float[Tensor, "b c h w"]
    kernel: Float[Tensor, "n k k"] | None
    sampling: Sampling
    noise: float = 0.0
    kernel_error: float = 0.0

    @property
    def scale(self) -> int:
        """By how much the image was reduced."""
        return self.sampling.scale

    @property
    def decimation(self) -> Decimation:
        """How it was reduced after the blur."""
        return self.sampling.decimation

    @property
    def border(self) -> Border:
        """What the blur saw outside."""
        return self.sampling.border

    def to(self, device: torch.device) -> "Observation":
        """The same with image and kernel on a device."""
        kernel = None if self.kernel is None else self.kernel.to(device)
        return replace(self, low=self.low.to(device), kernel=kernel)

    def degrade(self, image: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c h w"]:
        """A x, which this image would be of `image` but for its noise."""
        return self.sampling.degrade(image, self.kernel)

    def reduced(self, *, rng: torch.Generator | None = None) -> Float[Tensor, "b c h2 w2"]:
        """The image degraded once more as it was itself, noise included, and clipped to [0, 1] (MZSR alg. 2).

        With the image it is a self-pair: what the image is to this copy, the photograph is to the image.

        Args:
            rng: of the noise; needed when there is any.
        """
        return operator.add_noise(self.degrade(self.low), self.noise, rng=rng).clamp(0, 1)
