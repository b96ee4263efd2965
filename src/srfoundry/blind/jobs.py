"""Kernel estimation as a task of its own: from an image file to its kernel, kept so that a second run finds it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind import estimators
from srfoundry.blind.estimate import BlindObservation, Networks, Resources, Row
from srfoundry.blind.settings import Estimation
from srfoundry.blind.trained_networks import load_networks
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import load_state, save_state
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging import images

LOADING = Lock()  # threads that begin together load the networks once


@dataclass(frozen=True)
class Job:
    """One image file.

    Args:
        image: the file.
        kept: where its finished estimate is kept.
        names: seed what is random, within the work's stream.
    """

    image: Path
    kept: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What the jobs of a run have in common. It holds paths and numbers, so that any machine may do them.

    Args:
        settings: of the estimation.
        scale: of the reduction of all images.
        stream: of what is random.
        key: what a kept estimate must belong to: params, data and code.
        compute: where and how exactly networks compute.
        models: folder of the trained networks, for the methods that take them.
        bank: kernels that the family bank draws from.
    """

    settings: Estimation
    scale: int
    stream: Stream
    key: str
    compute: Compute
    models: Path
    bank: Float[Tensor, "n k k"] | None


def estimate_kernel_of_file(job: Job, *, work: Work) -> tuple[Float[Tensor, "1 k k"], list[Row]]:
    """The kernel of an image file, and the rows of its estimation; taken from `job.kept` if they are there."""
    settings, scale = work.settings, work.scale
    estimator = estimators.find(settings.method)
    size = estimator.kernel_size(settings, Resources(bank=work.bank), scale)
    found = nn.ParameterList([nn.Parameter(torch.zeros(1, size, size), requires_grad=False)])
    done, history = load_state(job.kept, work.key, {"kernel": found})
    if not done:  # an image is short work: one that was cut off starts again
        low = images.read(job.image).to(work.compute.device)
        networks = None
        if estimator.trained:
            with LOADING:
                networks = _networks(work.models, scale, work.compute, settings.precision, work.key)
        estimate = estimator(
            BlindObservation(low, Sampling(scale)),
            settings,
            Resources(networks, work.bank),
            rng=work.stream.rng(*job.names),
        )
        found[0].copy_(estimate.kernel)
        history = estimate.history
        save_state(job.kept, work.key, {"kernel": found}, len(history), history)
    return found[0].detach(), history


@lru_cache(maxsize=1)
def _networks(models: Path, scale: int, compute: Compute, hidden: str, key: str) -> Networks:
    """The networks of a run, which all of its images share; `key` stands for the bytes of their files."""
    return load_networks(models, scale, compute, hidden=hidden)
