"""The family that stands in exports/, registered: by the stage that made it, or later, where a registry is new."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures, HeldOut, seconds
from srfoundry.deployment.model_card import purpose
from srfoundry.deployment.precision import REDUCED
from srfoundry.networks.zoo.family import judged_on
from srfoundry.runtime.session import HELD_OUT, OnnxCard, Session
from srfoundry.tracking import registry, verdicts
from srfoundry.tracking.presenting import present
from srfoundry.tracking.registry import Registered, Within

ALIASES = {  # which name in the registry each member has; those in int8 only where they are worth it
    "pruned": "champion",
    "pruned50": "p50",
    "pruned70": "p70",
    "photo": "photo",
    "photo50": "photo50",
    "pruned_fp16": "fp16",
    "pruned_int8": "int8",
    "pruned50_int8": "p50_int8",
    "pruned70_int8": "p70_int8",
}


@dataclass(frozen=True)
class Place:
    """Where the models are, and what they are registered as.

    Args:
        exports: folder of the .onnx files, in that of the project.
        held_out: folder of the held-out photographs; it may be missing.
        name: of the registered model.
        least_gain: dB, see `champion.decide`.
        most_time: share of its original's time below which an int8 file is registered.
    """

    exports: Path
    held_out: Path
    name: str
    least_gain: float
    most_time: float


def register_family(place: Place, *, run_id: str | None = None, new: bool = False) -> Iterator[tuple[str, Registered]]:
    """Register each member of the family that is there, and yield its name with where it stands now.

    Args:
        place: where it is.
        run_id: the MLflow run that the versions belong to.
        new: only those that have no version yet, and were not refused here under the same limit.

    Raises:
        FoundryError: there is none, a file is no model of this project, or the registry does not answer.
    """
    paths = {member: path_of(place.exports, member) for member in ALIASES}
    found = {member: path for member, path in paths.items() if path.is_file()}
    if not found:
        names = ", ".join(ALIASES)
        raise FoundryError(f"{place.exports} holds no member of the family ({names}); run: dvc pull, or make repro")
    for member, path in found.items():
        blob = path.read_bytes()
        mark = f"{registry.md5(blob)} on {platform.node()}, limit {place.most_time:g}"
        if new and (registry.registered(blob, place.name) or verdicts.refused(place.name, member) == mark):
            continue
        session = Session(path, threads=1, device="cpu")
        card, judge = session.card, HeldOut(place.held_out, session.scale, test=judged_on(member))
        costs, refused = _worth(card, blob, judge, place)
        if refused:
            if costs:
                verdicts.refuse(place.name, member, mark)
            yield member, Registered("", "", False, refused)
            continue
        shown = partial(
            present,
            session,
            len(blob),
            place.held_out,
            f"models:/{place.name}@{ALIASES[member]}",
            project=place.exports.parent,
            anew=judge.digest() != card.metrics.get(HELD_OUT),
        )
        yield (
            member,
            registry.register(
                blob,
                name=place.name,
                figures=_figures(card, blob, judge, path),
                tags=_tags(card, member) | costs,
                score=judge.figures,
                least_gain=place.least_gain,
                alias=ALIASES[member],
                within=Within(run_id, shown),
            ),
        )


def path_of(exports: Path, member: str) -> Path:
    """Where the export stage leaves a member: pruned.onnx, int8/pruned.onnx."""
    name, _, precision = member.partition("_")
    return exports / precision / f"{name}.onnx"


def _worth(card: OnnxCard, blob: bytes, judge: HeldOut, place: Place) -> tuple[dict[str, str], str]:
    """What a file of lower precision costs against its original, as tags, and why it is not registered, if it is not.

    Without costs nothing was measured.

    The times of both are measured here and now: how quick int8 is depends on the processor.
    """
    if card.precision == "fp32":
        return {}, ""
    reduced = card.metrics[REDUCED]
    original = place.exports / f"{reduced['from']}.onnx"
    if not original.is_file() or not judge.digest():
        return {}, f"it is compared with {original} on {place.held_out}, one of which is not here; run: dvc pull"
    rounds = [(seconds(blob) or 0.0, seconds(original.read_bytes()) or 1.0) for _ in range(2)]  # in turns
    ratio = min(ours for ours, _ in rounds) / min(theirs for _, theirs in rounds)
    share = len(blob) / original.stat().st_size
    costs = {
        "precision": card.precision,
        "psnr.loss": f"{reduced['psnr_loss']:.4f}",
        "time.ratio": f"{ratio:.3f}",
        "original.md5": registry.md5(original.read_bytes()),
    }
    said = f"{reduced['psnr_loss']:.3f} dB lost on validation, {ratio:.2f} of the time and {share:.2f} of the bytes"
    if card.precision == "int8" and not ratio < place.most_time:
        return costs, f"{said} of {reduced['from']}: not under {place.most_time:g} of the time on this processor"
    return costs, ""


def _figures(card: OnnxCard, blob: bytes, judge: HeldOut, path: Path) -> Figures:
    """What the evaluation found, from the card; where that was on other photographs than are here, or unsaid, anew."""
    scores = card.scores(judge.test)
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
        "judged.on": judged_on(member),
        "trained.for": purpose.brief(card),
        "degradation": card.degradation,
        "parameters": str(card.parameters),
    }
