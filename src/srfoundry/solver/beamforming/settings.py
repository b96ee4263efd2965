"""What params.yaml says of beamforming. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import Count, Weight

Form = Literal["released", "published", "stabilised", "adam", "best"]
Kind = Literal["linear", "mlp", "lstm", "cnn"]


@dataclass(frozen=True, kw_only=True)
class ChannelDraw:
    """Random channels.

    Args:
        users: K; more than antennas are allowed.
        antennas: M.
        instances: channels that are drawn.
        weights: of the users' rates, one each; empty = all 1.
    """

    users: Count
    antennas: Count
    instances: Count
    weights: list[Weight]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What is solved by, and how long.

    Args:
        forms: of LAGD (`lagd`).
        network: of the forms that take one.
        steps: of the network.
        iterations: of WMMSE.
        restarts: starts of the form `best`.
    """

    forms: Annotated[list[Form], Field(min_length=1)]
    network: Kind
    steps: Count
    iterations: Count
    restarts: Annotated[int, Field(ge=2)]
