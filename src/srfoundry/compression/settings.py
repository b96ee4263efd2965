"""What params.yaml says of compression: what must be saved, how widths are searched, channels selected, nets tuned.

Imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import Count, Rate, Share, Steps, Weight
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.training.settings import Descent, PatchDraw

Relaxation = Literal["threshold", "softmax"]  # what the search moves: an end a layer, or a logit a width (DRC)
Importance = Literal["activation", "weight"]  # what ranks channels: weights times activity, or weights alone (DRC)


@dataclass(frozen=True, kw_only=True)
class BudgetTarget:
    """What a smaller net must save.

    Args:
        measure: what is saved: parameters, multiply-adds, or seconds in ONNX Runtime on this machine.
        remove: fraction of the dense net's cost that must go, at least.
        tolerance: and at most this much more.
        multiple: widths are multiples of it.
    """

    measure: Literal["parameters", "macs", "latency"]
    remove: Share
    tolerance: Share
    multiple: Count

    @property
    def middle(self) -> float:
        """Of the fractions that are allowed."""
        return self.remove + self.tolerance / 2

    @property
    def most(self) -> float:
        """The largest fraction that may go."""
        return self.remove + self.tolerance


@dataclass(frozen=True, kw_only=True)
class WidthModel:
    """How a layer's width becomes something that a gradient can move.

    Args:
        order: of the gradient: through the weights' own step, too (second), or not.
        relaxation: threshold or softmax (compression.relaxation).
        importance: what ranks a layer's channels (compression.importance).
    """

    order: Literal["first", "second"]
    relaxation: Relaxation
    importance: Importance


@dataclass(frozen=True, kw_only=True)
class SearchDescent:
    """How the weights and what decides on channels move in a search, both by Adam.

    Args:
        steps: of the search.
        learning_rate: of the weights, a cosine to zero.
        width_rate: of what decides: the relaxation's numbers, or the masks' logits.
        temperature: of the probabilities at the end; it falls from 1 geometrically.
        clip: largest norm of the weights' gradient.
    """

    steps: Steps
    learning_rate: Rate
    width_rate: Rate
    temperature: Rate
    clip: Annotated[float, Field(gt=0)]

    def heat(self, index: int, steps: int) -> float:
        """The temperature at a step of `steps` in which it falls."""
        return self.temperature ** (index / max(1, steps - 1))


@dataclass(frozen=True, kw_only=True)
class Searching:
    """All that a search is run by.

    Args:
        weights: of the terms of its loss beside the primal one.
        draws: the patches of a step, of each half of the photographs.
        degradation: of each; None keeps MATLAB's bicubic of the prepared set.
    """

    model: WidthModel
    descent: SearchDescent
    weights: LossWeights
    draws: PatchDraw
    degradation: RandomDegradation | None = None


@dataclass(frozen=True, kw_only=True)
class GreedySelection:
    """How channels are selected one after another by feature and dual-regression loss (DRC).

    Args:
        per_round: channels chosen between two tuning passes; 1 is the paper's form.
        select_batches: batches that selection looks at.
        select_batch: patches in each.
        select_rate: of SGD with Nesterov momentum 0.9, one step a batch, fresh every round.
        feature_weight: of the squared feature error; at [0, 1], 255 is the paper's balance.
    """

    per_round: Count
    select_batches: Count
    select_batch: Count
    select_rate: Rate
    feature_weight: Weight


@dataclass(frozen=True, kw_only=True)
class TuningWeights(LossWeights):
    """Of the terms beside the primal one when a smaller net is tuned.

    Args:
        teacher_weight: of the distillation from the dense net; at [0, 1], 255 is the paper's balance.
    """

    teacher_weight: Weight


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """All that the training of a net is run by.

    Args:
        weights: of the terms beside the primal one.
        draws: the patches of a step.
        descent: steps and rates.
        degradation: of each patch; None keeps MATLAB's bicubic of the prepared set.
    """

    weights: TuningWeights
    draws: PatchDraw
    descent: Descent
    degradation: RandomDegradation | None = None


@dataclass(frozen=True, kw_only=True)
class Tuning(Fitting):
    """All that fine-tuning is run by, and the selection of channels before it."""

    selection: GreedySelection


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What every method of compression is given.

    Args:
        groups: of a layer's filters, for methods that group them: the most up to this that divide them.
    """

    target: BudgetTarget
    searching: Searching
    groups: Count
