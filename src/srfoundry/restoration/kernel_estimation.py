"""Kernel estimation as programs need it: values of params.yaml, networks of the project, any image."""

import dataclasses
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import estimators
from srfoundry.blind.auto.estimation import least_pixels
from srfoundry.blind.estimate import BlindObservation, Estimate, Resources
from srfoundry.blind.settings import Estimation
from srfoundry.blind.trained_networks import load_networks
from srfoundry.config.params import Params
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import Decimation
from srfoundry.imaging import windows
from srfoundry.imaging.tiling import Progress

LOOK = 768  # low-resolution pixels a side that a kernel is estimated from, at most
MODELS = Path("models")  # of the project that one is in


@dataclasses.dataclass(frozen=True)
class KernelEstimation:
    """An estimator, ready for any number of images.

    Attributes:
        settings: section estimate of params.yaml.
        sampling: under which its kernels are; trained methods know direct decimation alone, and antialiasing is a part
            of the blur that they find.
        resources: its networks.
        stream: of its random numbers.
        device: where it computes.
        decimation: how all images were reduced, where a person said so.
    """

    settings: Estimation
    sampling: Sampling
    resources: Resources
    stream: Stream
    device: torch.device
    decimation: Decimation | None = None

    @classmethod
    def load(
        cls,
        chosen: Params,
        scale: int,
        decimation: Decimation | None = None,
        *,
        device: torch.device,
        models: Path = MODELS,
    ) -> "KernelEstimation":
        """Take the values of params.yaml, and load what they need.

        Args:
            chosen: these values.
            scale: by which all images were reduced.
            decimation: how; if not given the method auto finds out, and the others take it for direct.
            device: where it computes.
            models: folder of the networks that trained methods take.

        Raises:
            FoundryError: a network is missing, damaged, or of another scale.
        """
        settings = chosen.estimate.settings
        compute, networks = Compute(device, chosen.shared.precision), None
        if estimators.find(settings.method).trained:
            networks = load_networks(models, scale, compute, hidden=settings.precision)
        stream = Stream(chosen.shared.seed, "restore")
        return cls(settings, Sampling(scale), Resources(networks), stream, device).under(decimation)

    def under(self, decimation: Decimation | None) -> "KernelEstimation":
        """The same for images of which a person says how they were reduced."""
        trained = estimators.find(self.settings.method).trained
        sampling = self.sampling if trained else dataclasses.replace(self.sampling, decimation=decimation or "direct")
        return dataclasses.replace(self, sampling=sampling, decimation=decimation)

    @property
    def decides(self) -> bool:
        """Whether the method says by itself if an image is to be restored at all."""
        return estimators.find(self.settings.method).decides

    @property
    def least(self) -> int:
        """Pixels a side below which that method can say nothing."""
        return least_pixels(self.settings, self.sampling.scale)

    def estimate(
        self,
        low: Float[Tensor, "1 3 h w"],
        name: str,
        *,
        noise: float | None = None,
        insist: bool = False,
        quality: int | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Estimate:
        """Estimate the kernel of an image, of a large one by its busiest window.

        Args:
            low: range [0, 1].
            name: of the image; seeds what is random.
            noise: its standard deviation; if not given that of the section, which for auto, fast, free and
                unfolded is an estimate where it is 0. The method released takes none.
            insist: the image is blurred, whatever is seen.
            quality: as of `BlindObservation`.
            progress: is called with (iterations done, iterations in all).
        """
        seen = windows.crop(low, windows.busiest(low, LOOK, energy="edges")).to(self.device)
        estimator = estimators.find(self.settings.method)
        total = estimator.iterations(self.settings)
        return estimator(
            BlindObservation(seen, self.sampling, noise, insist, self.decimation, quality),
            self.settings,
            self.resources,
            rng=self.stream.rng(name),
            log=lambda step, row: progress(min(step, total), total),
        )

    def estimate_kernel(self, low: Float[Tensor, "1 3 h w"], name: str) -> Float[Tensor, "1 k k"]:
        """The kernel alone of an image that is blurred; arguments as in `estimate`."""
        return self.estimate(low, name, insist=True).kernel
