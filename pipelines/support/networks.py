"""How stages end with a network: its file with a card."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pipelines.support.stage import Stage
from srfoundry.networks.zoo import cards

Scores = Mapping[str, Any]


def save(
    stage: Stage, path: str, net: nn.Module, arch: Mapping[str, Any], metrics: Scores | None = None, scale: int = 0
) -> None:
    """Write a network with its card.

    Args:
        stage: which made it.
        path: of the file.
        net: that was trained.
        arch: that it is built from.
        metrics: on its card.
        scale: of the enlargement, that of the stage if not given.
    """
    cards.save(
        stage.output(path),
        net,
        arch=dict(arch),
        scale=scale or stage.scale,
        made_by=stage.name,
        params_hash=stage.params_hash,
        metrics=dict(metrics or {}),
    )


def finish(
    stage: Stage, net: Any, arch: Mapping[str, Any], scores: Scores, history: Sequence[Mapping[str, float]]
) -> None:
    """Write the one network of a stage, which is for several scales, its curve and its metrics."""
    scores = {**scores, "parameters": sum(weight.numel() for weight in net.parameters())}
    scales = list(net.scales)
    save(stage, f"models/{stage.name}.safetensors", net, arch, {**scores, "scales": scales}, scales[0])
    stage.curve(history)
    stage.metrics(scores)
