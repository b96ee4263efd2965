"""Images, kernels and small settings that the tests of blind restoration share."""

import json
import math
from typing import Any

import torch
from torch import Tensor

from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.estimate import BlindObservation, Estimate
from srfoundry.blind.settings import Estimation
from srfoundry.config import sections
from srfoundry.core.seeds import generator
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade

PRIOR = GaussianPrior(15, 0.35, 5.0)  # variances in px^2


def shape_of(first: float, second: float, angle: float) -> Tensor:
    """A Gaussian's variances along its axes, and the angle of the first, as `GaussianPrior` has them: 1 3."""
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = math.log(first), math.log(second)
    row = [a * cos**2 + b * sin**2, (a - b) * cos * sin, a * sin**2 + b * cos**2]
    return torch.tensor([row], dtype=torch.float64)


VALUES: dict[str, Any] = {
    "method": "dkp",
    "passes": 2,
    "look": 64,
    "kernel_size": 11,
    "variances": (0.175, 2.5),
    "iterations": 4,
    "draws": 48,
    "temperature": 2.0,
    "image_steps": 1,
    "kernel_steps": 15,
    "image_rate": 5e-3,
    "kernel_rate": 2e-3,
    "prior_strength": (10.0, 3.0),
    "langevin": 0.0,
    "window": 24,
    "width": 8,
    "levels": 2,
    "noise": 0.0,
    "tile": 32,
    "keep": 1.0,
    "exponent": (2.5, 0.5),
    "softness": 0.0,
    "family": "gaussian",
    "sampler": "population",
    "likelihood": "spectrum",
    "form": "network",
    "updates": 4,
    "rounds": 2,
    "learned": False,
    "stop": "none",
    "patience": 10,
    "fade": False,
    "bfloat16": False,
    "capture": "none",
    "recentre": False,
    "precision": "float32",
}


def tiny(**changes: Any) -> Estimation:
    """Settings for seconds, by their names in params.yaml."""
    return sections.Estimate.model_validate_json(json.dumps(sections.Estimate.gathered({**VALUES, **changes}))).settings


def power_law(size: int, seed: int) -> Tensor:
    """A random image whose power falls as |f|^-2.5, in colour, range about [0, 1]."""
    noise = torch.randn(1, 3, size, size, generator=generator(seed, "image"))
    axis = torch.fft.fftfreq(size)
    radius = torch.hypot(axis[:, None], axis).clamp_min(1 / size)
    image = torch.fft.ifft2(torch.fft.fft2(noise) * radius**-1.25).real
    return 0.5 + 0.15 * (image - image.mean()) / image.std()


def kernel(first: float, second: float, angle: float) -> Tensor:
    """A Gaussian of 11 taps."""
    return gaussian(11, *(torch.tensor([value]) for value in (first, second, angle)))


def low(true: Tensor) -> Tensor:
    """A photograph's stand-in, blurred by a kernel and halved."""
    return degrade(power_law(144, 3), true, 2).clamp(0, 1)


def observed(image: Tensor, scale: int = 2, border: Border = "reflect", noise: float | None = None) -> BlindObservation:
    """An image whose kernel is sought."""
    return BlindObservation(image, Sampling(scale, border=border), noise)


def run_dkp(image: Tensor, seed: int = 1, **changes: Any) -> Estimate:
    """DKP at x2 with tiny settings."""
    return estimate_by_dkp(observed(image), tiny(**changes), rng=generator(seed, "dkp"))
