"""What params.yaml says of a dense network's training in the closed loop. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srfoundry.degradation.settings import RandomDegradation
from srfoundry.training.settings import Descent, PatchDraw

ESTIMATE_WEIGHT = 0.02  # of what a net that estimates blur and noise is wrong by, where nothing else is said


@dataclass(frozen=True, kw_only=True)
class DenseTraining:
    """A family's dense network, its dual map, and how both are trained.

    Args:
        arch: of the network, as its card has it.
        dual_arch: of the dual map; a `kernel_dual` is the known operator of each pair.
        dual_weight: lambda of the dual term.
        estimate_weight: of what a net that estimates blur and noise is wrong by; no other has the term.
        draws: the patches of a step.
        degradation: of each patch.
        descent: steps and rates.
        restarts: cosines one after the other.
        skip: as in training.optimiser.
        unpaired_share: of each batch, images without a photograph.
    """

    arch: Mapping[str, Any]
    dual_arch: Mapping[str, Any]
    dual_weight: float
    draws: PatchDraw
    degradation: RandomDegradation
    descent: Descent
    restarts: int
    skip: float
    unpaired_share: float
    estimate_weight: float = ESTIMATE_WEIGHT
