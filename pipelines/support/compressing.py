"""What the compressing stages share beside the recipe: what it works on, and how a smaller net is saved and drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pipelines.support.networks import save
from pipelines.support.stage import Stage
from srfoundry.compression.member import Made
from srfoundry.compression.recipe import Conditions
from srfoundry.dual_regression.training import reopen
from srfoundry.imaging.patches import Patches
from srfoundry.networks.zoo import cards
from srfoundry.reporting.compression import widths_picture

Paths = tuple[str, str]  # of a net and of its dual nets
DUAL: Paths = ("models/dual.safetensors", "models/dual_nets.safetensors")
PHOTO: Paths = ("models/photo.safetensors", "models/photo_nets.safetensors")


def conditions(stage: Stage) -> Conditions:
    """The stage's photographs, hardware, random numbers and state."""
    return Conditions(
        patches=Patches.open(stage.input("data/synthesize/train")),
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
        threads=stage.params.shared.threads,
    )


def opened(stage: Stage, paths: Paths = DUAL) -> tuple[Any, nn.Module, cards.Card]:
    """A net, its dual nets and the net's card, as an earlier stage wrote them; by default the dense ones."""
    primal, duals = map(stage.input, paths)
    return reopen(primal, duals, stage.device)


def save_member(stage: Stage, made: Made, arch: Mapping[str, Any], path: str, *, method: str, remove: float) -> None:
    """Write a member with its card, its curve and pictures, and its metrics.

    Args:
        arch: of the dense net's card.
        path: of the member.
        method: that it was compressed by.
        remove: the fraction that had to go.
    """
    member, found = made.member, made.found
    scores = {**member.scores, "method": method, "search": found.scores}
    save_net(stage, path, member.net, {**arch, **found.arch}, {**scores, **member.trained_for})
    stage.curve(member.history)
    show_widths(stage, made.dense, found.dense, found.widths, found.history, remove)
    stage.metrics(scores)


def save_net(stage: Stage, path: str, net: nn.Module, arch: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """Write a net with its card, which leaves out what the clock said of it."""
    save(stage, path, net, arch, untimed(scores))


def untimed(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores but for measured times: equal params give equal bytes."""
    kept = {name: value for name, value in scores.items() if not name.startswith("latency_ratio")}
    return {name: untimed(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def show_widths(
    stage: Stage,
    net: Any,
    dense: Sequence[int],
    widths: Sequence[int],
    rows: Sequence[Mapping[str, float]],
    target: float | None = None,
) -> None:
    """Write results/<stage>/widths.png; arguments as in `widths_picture`, names those of the net's units."""
    path: Path = stage.results / "widths.png"
    widths_picture(path, [unit.name for unit in net.units()], dense, widths, rows, target)
    stage.picture("widths", path)
