"""What params.yaml says of MZSR's two trainings and of adaptation. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import Count, Rate, Steps

Support = Literal["patches", "self_pair"]
Order = Literal["first", "second"]
LossWeights = Literal["uniform", "annealed", "last"]
Descent = Literal["plain", "adam"]
LARGEST_OF_ADAM = 1e-3  # rate of adaptation: its step moves every weight by so much, and ten of 1e-3 leave no net


@dataclass(frozen=True, kw_only=True)
class PlainTraining:
    """Training on pairs without inner steps: MZSR's first phase, and the warm-up before its second.

    Args:
        patch: high-resolution pixels a side.
        batch: patches a step.
        steps: of Adam.
        learning_rate: the largest.
    """

    patch: Annotated[int, Field(ge=16)]
    batch: Count
    steps: Steps
    learning_rate: Rate


@dataclass(frozen=True, kw_only=True)
class TaskDegradations:
    """The degradations that kernel tasks are made of.

    Args:
        enlargement: of the network's input; `linear` is the best linear filter for the assumed kernel.
        decimation: after the blur; `both` draws it for each task.
        scales: drawn for each task, the pipeline's first; empty is that one alone.
        mismatch: largest variance in px^2 of a further blur that either the true or the assumed kernel has.
    """

    enlargement: Literal["bicubic", "linear"]
    decimation: Literal["direct", "bicubic", "both"]
    scales: list[Annotated[float, Field(gt=1, le=8)]]
    mismatch: Annotated[float, Field(ge=0, le=1.5)]


@dataclass(frozen=True, kw_only=True)
class NoiseDraw:
    """White noise of the tasks' images, which enlargement and network are given.

    Args:
        noisy: share of the tasks that have any.
        noise: largest standard deviation, range [0, 1]; half of those that have any have less than a quarter of it.
    """

    noisy: Annotated[float, Field(ge=0, le=1)]
    noise: Annotated[float, Field(ge=0, le=0.2)]

    @property
    def present(self) -> bool:
        """Whether any task has noise."""
        return self.noisy > 0 and self.noise > 0


@dataclass(frozen=True, kw_only=True)
class TaskDraw:
    """The tasks of a meta-batch.

    Args:
        tasks: kernels, one a task.
        shots: patches a task.
        patch: high-resolution pixels a side.
        support: what a task adapts on: `patches` are others of its kernel (MZSR), `self_pair` is the query
            reduced again.
    """

    tasks: Count
    shots: Count
    patch: Annotated[int, Field(ge=16)]
    support: Support


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """MAML's steps inside, and what of them the meta-gradient sees.

    Args:
        steps: of plain gradient descent.
        rate: their size, times the factors where these are learned.
        order: `second` differentiates through the inner gradients.
        loss_weights: of the query losses after each step (`meta_training.step_weights`).
        learn_rates: also train a factor of the step size for each weight tensor (Li et al., Meta-SGD, 2017).
    """

    steps: Count
    rate: Rate
    order: Order
    loss_weights: LossWeights
    learn_rates: bool


@dataclass(frozen=True, kw_only=True)
class OuterDescent:
    """Adam outside, over the tasks of a meta-batch.

    Args:
        steps: meta iterations.
        learning_rate: the largest.
        schedule: of it.
        clip: largest norm of the gradient: differentiating through inner steps makes rare, huge ones.
    """

    steps: Steps
    learning_rate: Rate
    schedule: Literal["cosine", "constant"]
    clip: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class AdaptationSteps:
    """How the finished network adapts to an image.

    Args:
        rates: size of each step, times the learned factors.
        self_pairs: pairs of the image and its reduced copies that a step looks at.
        held_out: share of the image that never trains and decides which step is kept.
        descent: gradient descent on the self-pairs, or Adam's steps on turned copies.
    """

    rates: Annotated[list[Rate], Field(min_length=10, max_length=10)]
    self_pairs: Count
    held_out: Annotated[float, Field(ge=0, le=0.5)]
    descent: Descent
