"""FKP's test of blind restoration (unknown Gaussians, periodic borders), and Levin's motion kernels by the same recipe.

Set5 is the stored one (low-resolution images and kernels made by the authors' program); other sets are drawn anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.nonblind_restoration import VARIANCES, trained_size
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import decoding, images, metrics, resize

STORED = "golden/blind/inputs_set5_and_c128.npz"
MOTION = 31  # taps a side that motion kernels are looked for in


@dataclass(frozen=True)
class Case:
    """A low-resolution image with periodic borders, and what made it.

    Attributes:
        kernel: of the direct decimation, correlation about its middle tap.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
    """

    name: str
    low: Tensor
    high: Tensor
    kernel: Tensor
    scale: int
    noise: float
    phase: float

    def psnr_y(self, image: Tensor) -> float:
        """Of a restored image, in dB."""
        return metrics.psnr_y(image, self.high[..., : image.shape[-2], : image.shape[-1]], self.scale)

    def aligned(self) -> Tensor:
        """Bicubic enlargement on the original's grid."""
        return resize.cubic_at(self.low, self.scale, self.phase).clamp(0, 1)

    def kernel_psnr(self, kernel: Tensor) -> float:
        """Of an estimate, in dB, without alignment; the sizes may differ."""
        rim = (kernel.shape[-1] - self.kernel.shape[-1]) // 2
        same, found = (pad(each, [max(by, 0)] * 4) for each, by in ((self.kernel, rim), (kernel.float(), -rim)))
        return min(metrics.kernel_psnr(found, same), 100.0)


def prior(scale: int) -> GaussianPrior:
    """The test's kernels, centred where its program has them."""
    low, high = (value * scale for value in VARIANCES)
    return GaussianPrior(trained_size(scale), low, high, conventions.get("dkp").phase(scale))


def stored(data: Path, scale: int) -> Iterator[Case]:
    """Set5 as the authors' program made it."""
    with np.load(data / STORED) as file:
        for name in sorted({key.split("/")[-1] for key in file if key.startswith("Set5/HR/")}):
            low, high = (_image(file[key]) for key in (f"Set5/x{scale}/lr/{name}", f"Set5/HR/{name}"))
            kernel = torch.from_numpy(file[f"Set5/x{scale}/k/{name}"])[None].float()
            yield Case(name, low, high, kernel, scale, 0.0, (scale - 1) / 2)


def photographs(data: Path, name: str, count: int | None) -> Iterator[tuple[str, Tensor]]:
    """The first photographs of a test set, or of any folder, by name."""
    for path in decoding.find(data / "test" / name)[:count]:
        yield path.stem, images.read(path)


def drawn(data: Path, name: str, scale: int, count: int | None, *, seed: int) -> Iterator[Case]:
    """The first images of another set, each with a kernel of its own."""
    for stem, high in photographs(data, name, count):
        high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
        family = prior(scale)
        kernel = family.kernels(family.sample(1, rng=generator(seed, "blind", name, stem, scale))).float()
        low = eight_bits(degrade(high, kernel, scale, border="circular"))
        yield Case(stem, low, high, kernel, scale, 0.0, (scale - 1) / 2)


def moved(data: Path) -> Iterator[Case]:
    """Levin's eight motion kernels, centred, on Set5's photographs in turns, x2."""
    with np.load(data / "kernels/levin09_motion.npz") as file:
        taps = [torch.from_numpy(file[key]).float()[None] for key in sorted(file)]
    paths = decoding.find(data / "test/Set5")
    for number, kernel in enumerate(taps):
        high = images.read(paths[number % len(paths)])
        high = high[..., : high.shape[-2] // 2 * 2, : high.shape[-1] // 2 * 2]
        kernel = kernels.centred(pad(kernel, [(MOTION - kernel.shape[-1]) // 2] * 4))
        low = eight_bits(degrade(high, kernel, 2, border="circular"))
        yield Case(f"{paths[number % len(paths)].stem} {number}", low, high, kernel, 2, 0.0, 0.0)


def noisy(case: Case, noise: float, *, seed: int) -> Case:
    """The same with white noise, in 8 bits."""
    rng = generator(seed, "blind noise", case.name, case.scale)
    low = case.low + noise * torch.randn(case.low.shape, generator=rng)
    return replace(case, low=eight_bits(low), noise=noise)


def periodic(case: Case, noise: float | None) -> BlindObservation:
    """A case without its truth; None leaves the noise to the estimator."""
    return BlindObservation(case.low, Sampling(case.scale, border="circular"), noise)


def eight_bits(image: Tensor) -> Tensor:
    """Rounded as a file holds it."""
    return images.from_uint8(images.to_uint8(image))


def _image(pixels: "np.ndarray") -> Tensor:
    return images.from_uint8(torch.from_numpy(pixels)[None])
