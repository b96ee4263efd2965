"""What params.yaml says of a dense network's training in the closed loop. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srfoundry.core.ranges import Weight
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.training.settings import Descent, PatchDraw


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Of the terms beside the primal one.

    Args:
        dual_weight: lambda of the dual term. With 0 the dual nets do not run: it is plain multi-scale training, to the
            bit.
        estimate_weight: of what a net that estimates blur and noise is wrong by (dual_regression.estimation); no other
            has the term.
    """

    dual_weight: Weight
    estimate_weight: Weight


@dataclass(frozen=True, kw_only=True)
class DenseTraining:
    """A family's dense network, its dual map, and how both are trained.

    Args:
        arch: of the network, as its card has it.
        dual_arch: of the dual map; a `kernel_dual` is the known operator of each pair.
        weights: of the terms beside the primal one.
        draws: the patches of a step.
        degradation: of each patch.
        descent: steps and rates.
        restarts: cosines one after the other.
        skip: as in training.optimiser.
        unpaired_share: of each batch, images without a photograph.
    """

    arch: Mapping[str, Any]
    dual_arch: Mapping[str, Any]
    weights: LossWeights
    draws: PatchDraw
    degradation: RandomDegradation
    descent: Descent
    restarts: int
    skip: float
    unpaired_share: float
