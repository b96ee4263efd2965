"""Which channels of each unit stay, as flags that checkpoints know: what a search decides on and a selection fills."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from srfoundry.networks.sr.prunable import Unit, end_of, width_of


class KeptChannels(nn.Module):
    """One flag a channel for every unit; all set at the start. A module only so that checkpoints know it."""

    def __init__(self, net: nn.Module, units: Sequence[Unit]) -> None:
        super().__init__()
        self.names = [f"unit{index}" for index in range(len(units))]
        for name, unit in zip(self.names, units, strict=True):
            device = end_of(net, unit.consumer).weight.device
            self.register_buffer(name, torch.ones(width_of(net, unit), dtype=torch.bool, device=device))

    def mark(self, index: int, chosen: Sequence[int]) -> None:
        """Keep these channels of a unit only."""
        flags = self.get_buffer(self.names[index])
        flags.zero_()
        flags[list(chosen)] = True

    def factors(self) -> list[Callable[[], Tensor]]:
        """The flags of every unit as `masked` wants them: looked up anew in each pass."""
        return [lambda name=name: self.get_buffer(name) for name in self.names]

    def indices(self) -> list[Tensor]:
        """Indices of the channels that stay, ascending, for each unit."""
        return [self.get_buffer(name).nonzero()[:, 0].cpu() for name in self.names]

    def widths(self) -> list[int]:
        """How many channels of each unit stay."""
        return [len(channels) for channels in self.indices()]
