"""What params.yaml says of kernel estimation, section estimate, by purpose. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import Count, Positive, Rate, Steps, Weight
from srfoundry.degradation.settings import SpectrumModel

FamilyName = Literal["gaussian", "line", "trajectory", "disc", "bank"]
Form = Literal["network", "taps", "family"]
Rule = Literal["none", "variance", "held_out"]
Precision = Literal["auto", "float32", "bfloat16"]
Capture = Literal["none", "graph", "compile"]

Variance = Annotated[float, Field(gt=0, le=100)]


@dataclass(frozen=True, kw_only=True)
class KernelPrior:
    """Which kernels are thought possible before the image is seen.

    Args:
        family: of the random kernels; `bank` draws from kernels that are handed over.
        kernel_size: taps a side, odd.
        variances: least and largest of the Gaussian family, in multiples of the scale, px^2.
    """

    family: FamilyName
    kernel_size: Annotated[int, Field(ge=3, le=31)]
    variances: tuple[Variance, Variance]


@dataclass(frozen=True, kw_only=True)
class KernelSampling:
    """How random kernels are drawn and weighed (RKS).

    Args:
        draws: random kernels a sampling step.
        temperature: of the weights; above 1 because tiles overlap.
        sampler: population Monte Carlo with mixture weights, or Metropolis-Hastings chains.
        likelihood: of a kernel: by the image's spectrum (the sharp image integrated out), or by the residual of the
            image so far.
    """

    draws: Annotated[int, Field(ge=8)]
    temperature: Positive
    sampler: Literal["population", "chains"]
    likelihood: Literal["spectrum", "residual"]


@dataclass(frozen=True, kw_only=True)
class ImageFit:
    """The untrained image network G_x and its steps (IR).

    Args:
        image_steps: steps an iteration (DKP), or in each round (P of MLMC); 0 leaves the image out.
        image_rate: of Adam.
        width: channels.
        levels: halvings.
        fade: the image prior's weight falls with the residual (MLMC's noise model).
        bfloat16: of the network's arithmetic.
        capture: the step as one CUDA graph, compiled, or neither.
    """

    image_steps: Steps
    image_rate: Rate
    width: Count
    levels: Annotated[int, Field(ge=1, le=6)]
    fade: bool
    bfloat16: bool
    capture: Capture


@dataclass(frozen=True, kw_only=True)
class KernelFit:
    """The learned kernel G_k and its steps (PKE).

    Args:
        form: a network's output, free taps, or a member of the prior's family.
        kernel_steps: steps an iteration.
        kernel_rate: of Adam; it falls to a twentieth.
        prior_strength: |lambda grad prior| / |grad data|, first and last iteration.
        langevin: noise on the kernel's weights, in units of sqrt(2 rate).
    """

    form: Form
    kernel_steps: Count
    kernel_rate: Rate
    prior_strength: tuple[Positive, Positive]
    langevin: Weight


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How often the parts of a method take turns.

    Args:
        passes: corrections of the method fast, each a run of the non-blind network.
        iterations: outer iterations T.
        updates: MLMC's sampling updates an iteration, L.
        rounds: MLMC's kernel steps an iteration, Q, each after `image_steps` image steps.
        learned: MLMC's kernel steps are a learned optimiser's.
    """

    passes: Count
    iterations: Count
    updates: Count
    rounds: Count
    learned: bool


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When to stop without ground truth, and which iterate to keep (`stop.Monitor`).

    Args:
        stop: by the variance of the images (ES-WMV), by the error at pixels held out, or never.
        patience: iterations without a better figure.
    """

    stop: Rule
    patience: Count


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How much of a large image is looked at, in low-resolution pixels a side, the busiest.

    Args:
        look: of the methods without an image network of their own.
        window: of the image network.
    """

    look: Annotated[int, Field(ge=32)]
    window: Annotated[int, Field(ge=16)]


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """All that params.yaml says of an estimation.

    Args:
        method: a name of `estimators.ESTIMATORS`.
        recentre: move the kernel's centre of mass to the middle tap at last.
        precision: of a denoising restorer's hidden layers, when a kernel is found and when an image is restored.
    """

    method: str
    prior: KernelPrior
    spectrum: SpectrumModel
    sampling: KernelSampling
    image: ImageFit
    kernel: KernelFit
    turns: Turns
    stopping: Stopping
    windows: Windows
    recentre: bool
    precision: Precision
