"""The family that stands in exports/, registered: by the stage that made it, or later, where a registry is new."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures, HeldOut, seconds
from srfoundry.runtime.session import OnnxCard, Session
from srfoundry.tracking import registry
from srfoundry.tracking.presenting import present
from srfoundry.tracking.registry import Registered, Within

ALIASES = {"pruned": "champion", "pruned50": "p50", "pruned70": "p70"}  # which name in the registry each member has
SCORES, HELD_OUT = "held_out.bicubic", "held_out.md5"  # in a card's metrics


@dataclass(frozen=True)
class Place:
    """Where the models are, and what they are registered as.

    Args:
        exports: folder of the .onnx files.
        held_out: folder of the held-out photographs; it may be missing.
        name: of the registered model.
        least_gain: dB, see `champion.decide`.
    """

    exports: Path
    held_out: Path
    name: str
    least_gain: float


def register_family(place: Place, *, run_id: str | None = None, new: bool = False) -> Iterator[tuple[str, Registered]]:
    """Register each member of the family that is there, and yield its name with where it stands now.

    Args:
        place: where it is.
        run_id: the MLflow run that the versions belong to.
        new: only those that have no version yet.

    Raises:
        FoundryError: there is none, a file is no model of this house, or the registry does not answer.
    """
    paths = {member: place.exports / f"{member}.onnx" for member in ALIASES}
    found = {member: path for member, path in paths.items() if path.is_file()}
    if not found:
        raise FoundryError(f"{place.exports} holds no {' or '.join(ALIASES)}.onnx; run: dvc pull, or make repro")
    for member, path in found.items():
        blob = path.read_bytes()
        if new and registry.registered(blob, place.name):
            continue
        session = Session(path, threads=1, device="cpu")
        card, judge = session.card, HeldOut(place.held_out, session.scale)
        shown = partial(
            present,
            session,
            len(blob),
            place.held_out,
            f"models:/{place.name}@{ALIASES[member]}",
            anew=judge.digest() != card.metrics.get(HELD_OUT),
        )
        yield (
            member,
            registry.register(
                blob,
                name=place.name,
                figures=_figures(card, blob, judge, path),
                tags=_tags(card, member),
                score=judge.figures,
                least_gain=place.least_gain,
                alias=ALIASES[member],
                within=Within(run_id, shown),
            ),
        )


def _figures(card: OnnxCard, blob: bytes, judge: HeldOut, path: Path) -> Figures:
    """What the evaluation found, from the card; where that was on other photographs than are here, or unsaid, anew."""
    scores: dict[str, Any] = card.metrics.get(SCORES, {})
    held_out, here = str(card.metrics.get(HELD_OUT, "")), judge.digest()
    if here not in ("", held_out) or not held_out:
        found = judge.figures(blob)
        if found is not None:
            return found
    if not {"psnr_y", "gain_db"} <= set(scores):
        raise FoundryError(f"{path} has no figures in its card, and no held-out photographs are here; run: dvc pull")
    psnr, gain = float(scores["psnr_y"]), float(scores["gain_db"])
    return Figures(psnr, psnr - gain, held_out, seconds(blob), len(blob))


def _tags(card: OnnxCard, member: str) -> dict[str, str]:
    return {
        "scale": str(card.scale),
        "params.hash": card.params_hash,
        "data.md5": card.data_hash,
        "member": member,
        "parameters": str(card.parameters),
    }
