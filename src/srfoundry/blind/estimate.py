"""What every kernel estimator is given and what it returns."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.decision import Decision
from srfoundry.blind.settings import Estimation
from srfoundry.core.compute import Compute
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.state import Log, kept, silent
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import Decimation
from srfoundry.imaging.windows import Box, busiest, crop
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.unfolded import Unfolded
from srfoundry.networks.nonblind.usrnet import USRNet

Row = dict[str, float]
Losses = dict[str, Tensor]


@dataclass(frozen=True)
class BlindObservation:
    """A low-resolution image whose kernel is sought.

    Args:
        low: the image, range [0, 1], on any device.
        sampling: scale, decimation and border.
        noise: standard deviation of its noise, range [0, 1]; None leaves it to the settings.
        insist: the image is blurred, whatever a method that decides sees (`auto`).
        decimated: how it was reduced, where a person said so; such a method weighs it otherwise. Kernels of trained
            methods are under direct decimation all the same: antialiasing is a part of them.
        quality: of the JPEG that its file is, or that errs as much on blurred photographs, 1 to 100; such a method
            looks for traces of one, too.
    """

    low: Float[Tensor, "1 c h w"]
    sampling: Sampling
    noise: float | None = None
    insist: bool = False
    decimated: Decimation | None = None
    quality: int | None = None

    @property
    def scale(self) -> int:
        """By how much the image was reduced."""
        return self.sampling.scale

    def known_noise(self, settings: Estimation) -> float:
        """The noise that an estimator without an estimate of its own takes for granted."""
        return settings.spectrum.noise if self.noise is None else self.noise


@dataclass(frozen=True)
class Networks:
    """The trained networks of the methods fast, free (which takes the restorer alone) and unfolded, if it was trained.

    `kernel_step` and `fusion` go with a restorer that denoises, if they were trained for it; the latter is nothing to
    an estimator, but to what is restored with its kernels. The classifier of degradations is
    `auto`'s; networks that were trained before there was one have none. `compute` is how they compute.
    """

    restorer: USRNet
    corrector: Corrector
    compute: Compute
    classifier: DegradationClassifier | None = None
    unfolded: Unfolded | None = None
    kernel_step: KernelStep | None = None
    fusion: Fusion | None = None


@dataclass(frozen=True)
class Resources:
    """What estimators may need beside the image.

    Args:
        networks: of the trained methods, on the image's device.
        bank: kernels that the family bank draws from, centred on the middle tap.
    """

    networks: Networks | None = None
    bank: Float[Tensor, "n k k"] | None = None


NOTHING = Resources()


@dataclass(frozen=True)
class Estimate:
    """What an estimator found of one low-resolution image.

    Attributes:
        kernel: positive, sums to 1.
        restored: the image of the window `box` that was found with it, if there is one.
        box: top, left, height and width of the window that was looked at, low-resolution pixels.
        history: a row for each outer iteration.
        decision: what a method that weighs the evidence first decided (`auto`).
    """

    kernel: Float[Tensor, "1 k k"]
    restored: Float[Tensor, "1 3 H W"] | None
    box: Box
    history: list[Row]
    decision: Decision | None = None


Promising = Callable[[Estimate], bool]  # whether a rough kernel is worth refining


def always(rough: Estimate) -> bool:
    """Refine every kernel."""
    return True


def kept_estimate(path: Path, key: str, find: Callable[[], Estimate]) -> Estimate:
    """What `find` returns, kept at `path`; with the same key it is not found again (`core.state.kept`)."""
    return Estimate(**kept(path, key, lambda: vars(find())))


@runtime_checkable  # for the shape checks of the tests
class EstimateKernel(Protocol):
    """The signature of all estimators."""

    def __call__(
        self,
        observation: BlindObservation,
        settings: Estimation,
        resources: Resources,
        *,
        rng: torch.Generator,
        log: Log,
    ) -> Estimate: ...


@dataclass(frozen=True)
class Estimator:
    """A way to find a kernel, as the table in `estimators` names it.

    Args:
        function: of all estimators' signature.
        iterations: how often it logs.
        kernel_size: taps a side of what it finds at a scale.
        trained: it takes the networks that the stage nonblind writes, and direct decimation.
        decides: it says by itself what happened to an image, and whether that is to be restored at all.
    """

    function: EstimateKernel
    iterations: Callable[[Estimation], int]
    kernel_size: Callable[[Estimation, Resources, int], int]
    trained: bool = False
    decides: bool = False

    def __call__(
        self,
        observation: BlindObservation,
        settings: Estimation,
        resources: Resources = NOTHING,
        *,
        rng: torch.Generator,
        log: Log = silent,
    ) -> Estimate:
        """Estimate the kernel of an image, and with some methods the image.

        Args:
            observation: the image.
            settings: section estimate of params.yaml.
            resources: networks of a trained method; the kernels of the family bank.
            rng: a CPU generator; the same state gives the same bytes.
            log: takes the row of each iteration.

        Raises:
            FoundryError: the image is too small, or something that the settings need is missing.
            Diverged: a loss is not finite.
        """
        decimation = observation.sampling.decimation
        if self.trained and (resources.networks is None or decimation != "direct"):
            raise FoundryError(
                f"estimate.method {settings.method} needs trained networks and direct decimation, got {decimation} "
                f"decimation{'' if resources.networks else ' and no networks'}; take dkp, or run 'dvc repro nonblind'"
            )
        found = self.function(observation, settings, resources, rng=rng, log=log)
        if not self.trained or observation.decimated != "bicubic" or found.decision is not None:
            return found
        phase = (observation.scale - 1) / 2  # from the pixel that was taken for the kept one to the block's centre
        return replace(found, kernel=kernels.centred(found.kernel.cpu(), phase).to(found.kernel))


@dataclass
class History:
    """The rows of an estimation, written down and logged as they come."""

    log: Log
    rows: list[Row] = field(default_factory=list)

    def add(self, iteration: int, row: Row) -> None:
        """Add the row of an iteration, counted from 0."""
        self.rows.append({"step": float(iteration + 1), **row})
        self.log(iteration + 1, row)


def check_size(low: Tensor, scale: int, size: int) -> None:
    """Refuse an image that a kernel does not fit into."""
    if min(low.shape[-2:]) * scale <= size:
        sizes = f"{low.shape[-2]}x{low.shape[-1]} at scale {scale}"
        raise FoundryError(f"image of {sizes} is too small for a {size}x{size} kernel; give a larger one")


def busiest_window(low: Float[Tensor, "1 c h w"], side: int) -> tuple[Float[Tensor, "1 c p q"], Box]:
    """The window with the most gradient energy, which a kernel is estimated from, and where it is."""
    box = busiest(low, side, energy="gradients")
    return crop(low, box), box


def as_numbers(losses: Mapping[str, Tensor | float], iteration: int) -> Row:
    """Losses as numbers, with one wait for the device.

    Raises:
        Diverged: one is not finite.
    """
    tensors = {name: value for name, value in losses.items() if isinstance(value, Tensor)}
    known = torch.stack([value.detach().float() for value in tensors.values()]).tolist() if tensors else []
    found = dict(zip(tensors, known, strict=True))
    row = {name: float(found.get(name, value)) for name, value in losses.items()}
    if not all(math.isfinite(value) for value in row.values()):
        raise Diverged(f"kernel estimation: got {row} in iteration {iteration + 1}; lower estimate.kernel_rate")
    return row
