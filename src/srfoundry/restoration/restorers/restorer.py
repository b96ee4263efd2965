"""What `restore` asks of every kind of model, what it is given, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation import conventions, operator, reductions
from srfoundry.degradation.observation import Observation
from srfoundry.imaging.tiling import Progress
from srfoundry.imaging.user_image import Handling

TILE = 256  # low-resolution pixels a side where a model suggests nothing
Ticker = Callable[[str], Progress]


def no_ticker(title: str) -> Progress:
    """The ticker of work that nobody watches."""
    return lambda done, total: None


@dataclass(frozen=True)
class RestoreOptions:
    """What a person says of one call of `restore`.

    Attributes:
        model: a file, a folder, or a word: see `table.KINDS`.
        params: params.yaml, or a file of values that go before those of the project's.
        kernel: file of the blur; estimated if not given.
        method: of that estimation, a name of `estimators.ESTIMATORS`; `estimate.method` of params.yaml if not given.
        convention: of that file.
        steps: of adaptation.
        close: back-projections at the end.
        decimation: how the image was reduced after the blur; if not given it is direct, or found out (`auto`).
        device: where networks run.
        linear: the blur acted on light and not on the encoded levels, as in a camera.
        scale: of the enlargement; that of the model's training, or shared.scale, if not given.
        noise: standard deviation of the image's noise, range [0, 1]; estimated if not given.
        kernel_error: standard deviation of the logarithm of the given kernel's variances: how wrong its width may be.
            MZSR's adaptation corrects it, but not of a JPEG.
        force: restore what would better be left alone, too (blind.guard).
        files: how they are read and written.
    """

    model: Path
    params: Path
    kernel: Path | None = None
    method: str | None = None
    convention: conventions.Name = "mzsr"
    steps: int = 10
    close: int = 0
    decimation: operator.Decimation | None = None
    device: torch.device = torch.device("cpu")
    linear: bool = False
    scale: int | None = None
    noise: float | None = None
    kernel_error: float = 0.0
    force: bool = False
    files: Handling = Handling()


@dataclass(frozen=True)
class Restored:
    """What a restorer made of one image.

    Attributes:
        image: in [0, 1], on the CPU.
        how: in a few words, for the line that names the file.
        remarks: what the user should know besides.
        own: the image with one kernel alone, where a decision let it have a part in `image`; None where the mean over
            what may have happened counts alone, which no kernel explains.
    """

    image: Float[Tensor, "1 3 H W"]
    how: str
    remarks: tuple[str, ...] = ()
    own: Float[Tensor, "1 3 H W"] | None = None


@runtime_checkable  # for the shape checks of the tests
class Restorer(Protocol):
    """A loaded model. Several threads may use it at once, each with an image of its own."""

    @property
    def scale(self) -> int:
        """By which it enlarges."""
        ...

    @property
    def uses_noise(self) -> bool:
        """Whether the standard deviation of the noise makes a difference; if not, none is given."""
        ...

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """Restore one image on the CPU.

        Args:
            observation: the image and its kernel.
            name: of the image; seeds what is random, so that results depend on nothing else.
            ticker: gives, for the title of a part of the work, what is called with (done, in all).
        """
        ...


def noise_of(observation: Observation) -> str:
    """The noise in words."""
    return f"noise {255 * observation.noise:.1f} of 255"


def under_direct(observation: Observation) -> Observation:
    """The observation under direct decimation, which is all that some models undo: antialiasing as part of its blur."""
    kernel, sampling = observation.kernel, observation.sampling
    if kernel is None or sampling.decimation == "direct":
        return observation
    kernel = reductions.combined(kernel, sampling.decimation, sampling.scale)
    return replace(observation, kernel=kernel, sampling=replace(sampling, decimation="direct"))
