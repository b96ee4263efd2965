"""A folder with an unconditional diffusion model (a `diffusers` U-Net with its scheduler) as image prior."""

from dataclasses import dataclass
from pathlib import Path

import torch

from srfoundry.blind.diffusion.denoiser import Denoiser
from srfoundry.blind.diffusion.diffpir import restore_by_diffpir
from srfoundry.blind.diffusion.settings import DiffusionSampler
from srfoundry.blind.diffusion.unet import load_denoiser
from srfoundry.config.params import Params
from srfoundry.core.seeds import Stream
from srfoundry.degradation.observation import Observation
from srfoundry.restoration.restorers.restorer import (
    Restored,
    RestoreOptions,
    Ticker,
    no_ticker,
    noise_of,
    under_direct,
)


@dataclass(frozen=True)
class DiffusionRestorer:
    """DiffPIR with the sampler of section diffuse."""

    title: str
    scale: int
    denoiser: Denoiser
    sampler: DiffusionSampler
    stream: Stream
    device: torch.device
    uses_noise: bool = True

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """See `Restorer`."""
        rng, seen = self.stream.rng("diffusion", name), under_direct(observation).to(self.device)
        image = restore_by_diffpir(seen, self.sampler, self.denoiser, rng=rng, progress=ticker("restore"))
        return Restored(image.clamp(0, 1).cpu(), f"{self.title}, {noise_of(observation)}")


def fits(model: Path) -> bool:
    """Whether it may be such a folder."""
    return model.is_dir()


def load(options: RestoreOptions, chosen: Params) -> DiffusionRestorer:
    """The restorer of one call.

    Raises:
        FoundryError: the folder holds no such model.
    """
    return DiffusionRestorer(
        f"diffusion prior {options.model.resolve().name}",
        options.scale or chosen.shared.scale,
        load_denoiser(options.model, device=options.device),
        chosen.diffuse.sampler,
        Stream(chosen.shared.seed, "restore"),
        options.device,
    )
