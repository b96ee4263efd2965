"""The word dip: a network that is trained on the image alone (deep image prior)."""

from dataclasses import dataclass
from pathlib import Path

import torch

from srfoundry.blind.dip import restore_by_dip
from srfoundry.blind.settings import Estimation
from srfoundry.config.params import Params
from srfoundry.core.seeds import Stream
from srfoundry.degradation.observation import Observation
from srfoundry.restoration.restorers.restorer import Restored, RestoreOptions, Ticker, no_ticker

WORD = "dip"
STEPS = 1000  # (DKP)


@dataclass(frozen=True)
class DipRestorer:
    """A deep image prior with the image network of section estimate."""

    scale: int
    settings: Estimation
    stream: Stream
    device: torch.device
    uses_noise: bool = False

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """See `Restorer`."""
        rng = self.stream.rng(WORD, name)
        seen = observation.to(self.device)
        image = restore_by_dip(seen, self.settings, steps=STEPS, rng=rng, progress=ticker("restore"))
        return Restored(image.cpu(), "deep image prior")


def fits(model: Path) -> bool:
    """Whether the user chose it."""
    return str(model) == WORD


def load(options: RestoreOptions, chosen: Params) -> DipRestorer:
    """The restorer of one call."""
    scale, stream = options.scale or chosen.shared.scale, Stream(chosen.shared.seed, "restore")
    return DipRestorer(scale, chosen.estimate.settings, stream, options.device)
