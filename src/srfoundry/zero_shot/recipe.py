"""How a network adapts to an image: the step sizes and what each step looks at, kept on the network's card."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from srfoundry.core.errors import FoundryError
from srfoundry.zero_shot.settings import Descent
from srfoundry.zero_shot.step_sizes import Rates


@dataclass(frozen=True)
class Recipe:
    """How a network adapts to an image.

    Args:
        rates: size of each step, or of each step and weight tensor in the order of `net.named_parameters()`.
        self_pairs: pairs of the image and its reduced copy, 1 to scale^2; the further ones start at other pixels, the
            loss is the mean.
        held_out: share of the image, in blocks on a lattice, that does not train and decides which step is kept;
            0 to 0.5. With 0 the loss on the self-pairs does.
        descent: `plain` is gradient descent on the self-pairs (MZSR), `adam` are Adam's steps (Kingma and Ba, 2015),
            each on another turned copy of the image and from another of its starting pixels.
    """

    rates: Rates
    self_pairs: int = 1
    held_out: float = 0.0
    descent: Descent = "plain"

    @classmethod
    def from_card(cls, metrics: Mapping[str, Any], otherwise: "Recipe | None" = None) -> "Recipe":
        """What a card's metrics say.

        Args:
            otherwise: for a card without rates.
        """
        rates: list[Any] = list(metrics.get("rates") or ())
        if not rates and otherwise is not None:
            return otherwise
        descent: Descent = "adam" if metrics.get("descent") == "adam" else "plain"
        return cls(rates, int(metrics.get("self_pairs", 1)), float(metrics.get("held_out", 0.0)), descent)

    def to_card(self) -> dict[str, Any]:
        """For a card's metrics."""
        return {"rates": self.rates, "self_pairs": self.self_pairs, "held_out": self.held_out, "descent": self.descent}

    def with_steps(self, count: int) -> "Recipe":
        """The same with so many of the rates, the last one repeated.

        Raises:
            FoundryError: there are none to repeat.
        """
        rates: list[Any] = list(self.rates)
        if count and not rates:
            raise FoundryError("the checkpoint's card names no rates; adapt with 0 steps or meta-train it")
        return replace(self, rates=[*rates, *rates[-1:] * count][:count])

    def step_sizes(self, net: nn.Module) -> list[list[float]]:
        """The rates as steps x weight tensors.

        Raises:
            FoundryError: they are of another number, or not finite.
        """
        count = len(list(net.parameters()))
        steps = [
            [float(rate)] * count if isinstance(rate, int | float) else [float(one) for one in rate]
            for rate in self.rates
        ]
        for index, step in enumerate(steps):
            if len(step) != count or not all(math.isfinite(rate) for rate in step):
                raise FoundryError(
                    f"rates of step {index} must be one finite number, or one for each of the network's {count} weight "
                    f"tensors, got {len(step)}: {step[:3]}"
                )
        return steps
