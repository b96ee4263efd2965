"""FILE.safetensors with a USRNet, which is conditioned on any kernel and noise."""

from dataclasses import dataclass
from pathlib import Path

from srfoundry.blind.nonblind_restoration import restore_by_usrnet
from srfoundry.config.params import Params
from srfoundry.core.compute import channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.observation import Observation
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.networks.zoo import cards
from srfoundry.restoration.restorers.restorer import (
    Restored,
    RestoreOptions,
    Ticker,
    no_ticker,
    noise_of,
    under_direct,
)


@dataclass(frozen=True)
class UsrnetRestorer:
    """A trained USRNet at one of its scales."""

    scale: int
    net: USRNet
    uses_noise: bool = True

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """See `Restorer`."""
        image = restore_by_usrnet(self.net, under_direct(observation), progress=ticker("restore"))
        return Restored(image, f"USRNet, {noise_of(observation)}")


def fits(model: Path) -> bool:
    """Whether the file holds one.

    Raises:
        FoundryError: the file is missing or damaged.
    """
    return model.suffix == ".safetensors" and cards.read_card(model).arch["name"] == "usrnet"


def load(options: RestoreOptions, chosen: Params) -> UsrnetRestorer:
    """The restorer of one call.

    Raises:
        FoundryError: the network was trained for other scales.
    """
    net, card = cards.load(options.model)
    assert isinstance(net, USRNet)
    scales, wanted = card.metrics.get("scales", [card.scale]), options.scale or card.scale
    if wanted not in scales:
        trained = ", ".join(f"x{one}" for one in scales)
        raise FoundryError(
            f"{options.model} was trained for {trained}, got scale {wanted}; choose one of these, or --model dip"
        )
    net.precision = chosen.estimate.precision
    return UsrnetRestorer(wanted, channels_last(net, options.device))
