"""The trained networks of the kernel estimators, out of the folder that nonblind, unfolded and kernel_step write."""

from pathlib import Path

import torch
from torch import nn

from srfoundry.blind.estimate import Networks
from srfoundry.blind.estimators import ESTIMATORS, find
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.unfolded import Unfolded
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.networks.zoo import cards


def load_networks(models: Path, scale: int, compute: Compute, *, hidden: str = "float32") -> Networks:
    """Load restorer, corrector and, if they are there, the classifier and what stages beside the graph made.

    Args:
        models: the folder that the stages write.
        scale: that they must have been trained for.
        compute: where and how exactly they compute.
        hidden: precision of the restorer's hidden layers.

    Raises:
        FoundryError: a file is missing or damaged, or one that has to be there is of another scale.
    """
    restorer = _load(models / "nonblind.safetensors", USRNet, scale, compute.device)
    corrector = _load(models / "corrector.safetensors", Corrector, scale, compute.device)
    assert isinstance(restorer, USRNet) and isinstance(corrector, Corrector)
    restorer.precision = hidden
    classifier, path = None, models / "classifier.safetensors"
    if path.exists():
        classifier = _load(path, DegradationClassifier, scale, compute.device)
        assert isinstance(classifier, DegradationClassifier)
    unfolded = _beside(models / "unfolded.safetensors", Unfolded, scale, compute.device)
    assert unfolded is None or isinstance(unfolded, Unfolded)
    step = _beside(models / "kernel_step.safetensors", KernelStep, scale, compute.device)
    assert step is None or isinstance(step, KernelStep)
    fusion = _beside(models / "fusion.safetensors", Fusion, scale, compute.device)
    assert fusion is None or isinstance(fusion, Fusion)
    return Networks(restorer, corrector, compute, classifier, unfolded, step, fusion)


def _beside(path: Path, kind: type[nn.Module], scale: int, device: torch.device) -> nn.Module | None:
    """Of a stage beside the graph, which few have run; one that was trained for other scales counts as not there."""
    if not path.exists() or not _fits(cards.read_card(path), scale):
        return None
    return _load(path, kind, scale, device, f"dvc repro graphs/{path.stem}/dvc.yaml").eval()


def _load(
    path: Path, kind: type[nn.Module], scale: int, device: torch.device, command: str = "dvc repro nonblind"
) -> nn.Module:
    if not path.exists():
        untrained = ", ".join(name for name in ESTIMATORS if not find(name).trained)
        raise FoundryError(
            f"{path} not found, which every estimate.method but {untrained} needs; run 'dvc repro nonblind', or take "
            "one of these"
        )
    net, card = cards.load(path)
    if not isinstance(net, kind):
        raise FoundryError(f"{path} must hold a {kind.__name__}, got {type(net).__name__}; run '{command}'")
    if not _fits(card, scale):
        raise FoundryError(
            f"{path} was trained for x{card.scale}, got an image to enlarge by {scale}; set shared.scale and run "
            f"'{command}', or choose another estimate.method"
        )
    return channels_last(net, device).requires_grad_(requires_grad=False)


def _fits(card: cards.Card, scale: int) -> bool:
    return scale in card.metrics.get("scales", [card.scale])
