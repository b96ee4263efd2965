"""One photograph of one test set through every method, as a task of its own that any machine may do."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import channels_last
from srfoundry.core.state import kept
from srfoundry.degradation import kernel_files
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.evaluation.result_tables import Scores, scored
from srfoundry.evaluation.trials import of_set
from srfoundry.imaging import images
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.family import BLIND
from srfoundry.zero_shot.recipe import Recipe

LOADING = Lock()  # threads that begin together load the networks once


@dataclass(frozen=True)
class EvaluationImage:
    """One photograph of one test set.

    Args:
        test: of the sets of `data.test_sets`.
        original: its file.
        low: its reduced file.
        kernels: files of the kernels that adaptation is given, by name; none for a set of MATLAB's bicubic.
        kept: where its results are kept, so that a second run finds them.
    """

    test: str
    original: Path
    low: Path
    kernels: Mapping[str, Path]
    kept: Path


@dataclass(frozen=True)
class Evaluation:
    """What the test images of a run have in common. It holds paths and numbers, so that any machine may do its part.

    Args:
        models: files of the networks, by the stage that made them.
        key: stands for the bytes of these files.
        recipe: how the meta-trained net is adapted.
        scale: of the enlargement.
        tile: low-resolution pixels a side that are restored at once.
        device: where to compute.
        shown: methods by test set whose images come back.
    """

    models: Mapping[str, Path]
    key: str
    recipe: Recipe
    scale: int
    tile: int
    device: torch.device
    shown: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Evaluated:
    """A test image's images, range [0, 1], those of the methods that are shown among them, and all methods' scores."""

    high: Float[Tensor, "1 3 H W"]
    low: Float[Tensor, "1 3 h w"]
    restored: dict[str, Float[Tensor, "1 3 H W"]]
    scores: dict[str, Scores]


def evaluate_image(item: EvaluationImage, *, evaluation: Evaluation) -> Evaluated:
    """Restore one reduced photograph by every method of its set and compare with the original.

    Taken from `item.kept` where a run that was killed had come so far.
    """
    return Evaluated(**kept(item.kept, evaluation.key, lambda: vars(_evaluated(item, evaluation))))


def _evaluated(item: EvaluationImage, evaluation: Evaluation) -> Evaluated:
    with LOADING:
        nets = _networks(tuple(evaluation.models.items()), evaluation.device, evaluation.key)
    own = deepcopy(nets)  # adaptation puts its weights into a net for a moment
    high, observed = images.read(item.original), _observed(item, evaluation)
    tried = of_set(item.test, own, observed, recipe=evaluation.recipe, tile=evaluation.tile)
    restored = {method: image.cpu() for method, image in tried}
    scores = scored(restored, high, evaluation.scale, natural=item.test in BLIND)
    shown = {method: restored[method] for method in evaluation.shown[item.test]}
    return Evaluated(high, observed["true"].low.cpu(), shown, scores)


def _observed(item: EvaluationImage, evaluation: Evaluation) -> dict[str, Observation]:
    """A test image with each kernel that adaptation is given, by name; None stands for MATLAB's bicubic."""
    given: dict[str, Tensor | None] = {"true": None}
    if item.kernels:
        given = {name: kernel_files.read(path) for name, path in item.kernels.items()} | {"bicubic": None}
    low = images.read(item.low).to(evaluation.device)
    return {kind: Observation(low, kernel, Sampling(evaluation.scale)) for kind, kernel in given.items()}


@lru_cache(maxsize=1)
def _networks(models: tuple[tuple[str, Path], ...], on: torch.device, key: str) -> dict[str, nn.Module]:
    """The networks of a run, which all of its photographs share; `key` stands for the bytes of their files."""
    return {name: channels_last(cards.load(path)[0], on) for name, path in models}
