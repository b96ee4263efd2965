"""Finished models in MLflow's registry, under one name whose alias `champion` only moves to a better one.

A family shares the name; its smaller members have aliases of their own, which follow the same rule (champion.py).

Registering is idempotent: the same model file is one version, however often its stage runs. It is one file since all of
it is that one promise: what is there, what is judged, what moves.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracking import MlflowClient

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures, seconds
from srfoundry.runtime import pulling
from srfoundry.runtime.mlflow_server import ABSENT
from srfoundry.runtime.pulling import Version
from srfoundry.tracking import packing, verdicts
from srfoundry.tracking.champion import Decision, decide
from srfoundry.tracking.packing import Presentation
from srfoundry.tracking.runs import Tracker
from srfoundry.tracking.stores import ARTIFACTS, GONE, reached

CHAMPION, CHALLENGER = "champion", "challenger"
METRIC = "psnr_y"  # dB, on the held-out photographs reduced by MATLAB's bicubic

PLAIN = Presentation(
    "Enlarges photographs. As a pyfunc it takes and gives images of any size: encoded bytes or arrays."
)

Entity = TypeVar("Entity")
Score = Callable[[bytes], Figures | None]  # scores a model's file on the photographs that are there now


@dataclass(frozen=True)
class Registered:
    """Where a model stands: its version, the alias that it holds now (champion or challenger, of its kind), and why.

    One that was refused has no version.
    """

    version: str
    alias: str
    fresh: bool
    reason: str = field(default="", compare=False)

    @property
    def standing(self) -> str:
        """For people: `version 3, champion`."""
        return f"version {self.version}, {self.alias}" if self.version else "not registered"


@dataclass(frozen=True)
class Within:
    """What a new version comes with.

    Args:
        run_id: the MLflow run that it belongs to; None = one of its own.
        shown: gives what people see of it; asked only where a version is new.
    """

    run_id: str | None = None
    shown: Callable[[], Presentation] = Presentation


USUAL = Within()


def register(
    blob: bytes,
    *,
    name: str,
    figures: Figures,
    tags: Mapping[str, str],
    score: Score,
    least_gain: float = 0.0,
    alias: str = CHAMPION,
    within: Within = USUAL,
) -> Registered:
    """Ensure that a version with this model exists, and give it the alias that it deserves.

    `champion` moves to the version if `champion.decide` says so; else the version is `challenger` (`p50_challenger`
    for another alias). A holder that was scored on other images is scored on the present ones first. A file that a
    person took the alias from (verdicts.py) does not get it back here, nor does what was made of such a file
    (`original.md5`); where it has no version any more, it gets none.

    Args:
        blob: the ONNX file.
        name: of the registered model.
        figures: the model's own.
        tags: further facts for people; plain strings. `scale` among them: other scales are not comparable.
        score: of a model on the photographs that are there now; gives None where it cannot.
        least_gain: dB that the model must be better by, unless it costs less.
        alias: what the best of its kind is called, `p50` for instance.
        within: the run that a new version belongs to, and what it shows to people.

    Raises:
        FoundryError: the store does not answer; whether a version's file is gone is not known then, and no alias moves.
    """
    with reached(store()):
        client = MlflowClient()
        digest = md5(blob)
        version = _version_with(client, name, digest)
        withdrawn = verdicts.note_holder(client, name, alias)
        barred = verdicts.barred(name, withdrawn, digest, tags.get("original.md5", ""))
        if barred and version is None:
            return Registered("", "", False, barred)
        fresh = version is None
        number = _log(blob, name, within) if version is None else str(version.version)
        if fresh:
            _note(client, name, number, {**tags, "model.md5": digest, **_as_tags(figures)})
        holder = verdicts.holder(client, name, alias)
        if holder is not None and str(holder.version) == number:
            return Registered(number, alias, fresh, str(holder.tags.get("decision", "")))
        own = figures, tags.get("scale", "")
        decision = Decision(False, barred) if barred else _compare(client, blob, own, holder, score, least_gain)
        challenger = challenger_of(alias)
        held = alias if decision.takes else challenger
        client.set_registered_model_alias(name, held, number)
        if decision.takes:  # after it: a process that is killed between the two withdraws what was beaten, and no other
            verdicts.moved(client, name, alias, digest)
        _note(client, name, number, {"decision": decision.reason})
        rival = verdicts.holder(client, name, challenger)
        if decision.takes and rival is not None and str(rival.version) == number:
            client.delete_registered_model_alias(name, challenger)
        return Registered(number, held, fresh, decision.reason)


def challenger_of(alias: str) -> str:
    """What the last is called that did not get an alias: `challenger`, `p50_challenger`."""
    return CHALLENGER if alias == CHAMPION else f"{alias}_{CHALLENGER}"


def registered(blob: bytes, name: str) -> bool:
    """Whether a version with this file, and its file with it, is there.

    Args:
        blob: the ONNX file.
        name: of the registered model.

    Raises:
        FoundryError: the store does not answer.
    """
    with reached(store()):
        return _version_with(MlflowClient(), name, md5(blob)) is not None


def find(uri: str) -> Version:
    """The version at `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        Missing: nothing is registered there.
        FoundryError: the address is malformed, or the store does not answer.
    """
    found = _at(uri)
    tags, aliases = {str(key): str(text) for key, text in found.tags.items()}, tuple(found.aliases)
    return Version(found.name, str(found.version), tags, aliases, str(found.source))


def fetch(uri: str) -> bytes:
    """Bytes of the registered ONNX model at such an address.

    Raises:
        FoundryError: as in `find`, or the version's file is gone or changed, or the store does not answer.
    """
    version = _at(uri)
    with reached(store()):
        blob = _bytes(version)
    if blob is None:
        raise pulling.lost(uri, str(version.version))
    return blob


def _at(uri: str) -> ModelVersion:
    name, alias, number = pulling.parse(uri)
    missing = pulling.missing(uri, store())
    _refuse_new_store(missing)
    with reached(store()):
        client = MlflowClient()
        try:
            if alias:
                return client.get_model_version_by_alias(name, alias)
            return client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise missing from None


def aliases(name: str) -> list[str]:
    """The aliases of a registered model, sorted.

    Raises:
        FoundryError: no model of this name is registered in this store.
    """
    missing = pulling.missing(f"{pulling.PREFIX}{name}", store())
    _refuse_new_store(missing)
    with reached(store()):
        try:
            return sorted(MlflowClient().get_registered_model(name).aliases)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise missing from None


def versions() -> list[dict[str, str]]:
    """Every registered version, newest first within its model: model, version, aliases, figure, scale.

    Raises:
        FoundryError: nothing was ever registered in this store.
    """
    nothing = pulling.nothing(store())
    _refuse_new_store(nothing)
    with reached(store()):
        rows = _rows(MlflowClient())
    if not rows:
        raise nothing
    return rows


def _rows(client: MlflowClient) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for model in _every(partial(client.search_registered_models, order_by=["name ASC"])):
        if not pulling.can_be_named(model.name):
            rows.append(pulling.unlisted(model.name))
            continue
        found = _every(partial(client.search_model_versions, pulling.named(model.name)))
        for version in sorted(found, key=lambda item: -int(item.version)):
            whole = client.get_model_version(model.name, version.version)  # a search leaves the aliases out
            rows.append(pulling.row(model.name, str(whole.version), ",".join(sorted(whole.aliases)), whole.tags))
    return rows


def _every(search: Callable[..., PagedList[Entity]]) -> list[Entity]:
    """What a search finds, page after page."""
    page = search()
    found = list(page)
    while page.token:
        page = search(page_token=page.token)
        found += page
    return found


def _compare(
    client: MlflowClient,
    blob: bytes,
    own: tuple[Figures, str],
    holder: ModelVersion | None,
    score: Score,
    least_gain: float,
) -> Decision:
    """Whether a model with these figures and scale takes over from the holder; what is found out is noted there."""
    figures, scale = own
    kept = None if holder is None else _bytes(holder)
    if holder is None or kept is None:
        decision = decide(figures, None, least_gain)
        lost = holder is not None and decision.takes
        return replace(decision, reason=f"{decision.reason}; the holder's file is gone") if lost else decision
    if holder.tags.get("scale", "") != scale:
        decision = decide(figures, None, least_gain)
        scales = f"; version {holder.version} enlarges {holder.tags.get('scale', '?')} times, this {scale or '?'}"
        return replace(decision, reason=decision.reason + scales)
    standing = _from_tags(holder, kept)
    if standing is None or standing.held_out != figures.held_out:
        standing, here = score(kept), score(blob)
        if standing is None or here is None:
            return Decision(
                False,
                f"version {holder.version} was scored on other photographs, and the present ones are not here to score "
                "it on: dvc pull data/synthesize, then srfoundry register",
            )
        figures = here
        _note(client, holder.name, str(holder.version), _as_tags(standing))
    if 0 <= figures.psnr - standing.psnr < least_gain:  # both times from here and now, or they say nothing
        figures, standing = replace(figures, seconds=seconds(blob)), replace(standing, seconds=seconds(kept))
    decision = decide(figures, standing, least_gain)
    return replace(decision, reason=decision.reason.replace("the holder", f"version {holder.version}"))


def _as_tags(figures: Figures) -> dict[str, str]:
    return {
        "metric": METRIC,
        "value": f"{figures.psnr:.6f}",
        "bicubic": f"{figures.bicubic:.6f}",
        "held_out.md5": figures.held_out,
        "bytes": str(figures.size),
        "seconds.128x128": "" if figures.seconds is None else f"{figures.seconds:.4f}",
    }


def _from_tags(version: ModelVersion, blob: bytes) -> Figures | None:
    """What a version was scored; None for one that was registered without all of it."""
    tags = version.tags
    if not tags.get("held_out.md5") or "bicubic" not in tags:
        return None
    return Figures(float(tags["value"]), float(tags["bicubic"]), tags["held_out.md5"], None, len(blob))


def _note(client: MlflowClient, name: str, number: str, tags: Mapping[str, str]) -> None:
    for key, text in tags.items():
        client.set_model_version_tag(name, number, key, text)


def md5(blob: bytes) -> str:
    """Of a model's file, as versions are known by it."""
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


def _version_with(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    """The newest version whose file is there and has this md5."""
    found = client.search_model_versions(f"{pulling.named(name)} and tags.`model.md5` = '{digest}'")
    for version in sorted(found, key=lambda item: -int(item.version)):
        if _bytes(version) is not None:
            return version
    return None


def _log(blob: bytes, name: str, within: Within) -> str:
    shown = within.shown()
    number = packing.log(blob, name, within.run_id or _run(), shown)
    MlflowClient().update_model_version(name, number, description=shown.short)
    return number


def _run() -> str:
    """A run for a model that no stage registers."""
    uri = store()
    folder = Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:") else Path()
    tracker = Tracker(uri, "srfoundry", folder / ARTIFACTS)
    return tracker.client.create_run(tracker.experiment, run_name="register").info.run_id


def _bytes(version: ModelVersion) -> bytes | None:
    """The file of a version; None where it is gone or changed. A store that does not answer raises."""
    uri = f"models:/{version.name}/{version.version}"
    with tempfile.TemporaryDirectory(prefix="srfoundry-") as place:  # MLflow removes none that it makes itself
        try:
            folder = Path(download_artifacts(artifact_uri=uri, dst_path=place))
        except MlflowException as error:
            if error.error_code != GONE:
                raise
            return None
        files = [file for file in folder.rglob("*.onnx") if file.is_file()]
        if len(files) != 1:
            return None
        blob = files[0].read_bytes()
    return blob if md5(blob) == version.tags.get("model.md5") else None


def store() -> str:
    """The address of the registry that is asked."""
    return mlflow.get_tracking_uri()


def _refuse_new_store(missing: FoundryError) -> None:
    """Looking for a model must not create an empty database."""
    path = store().removeprefix("sqlite:///")
    if path != store() and not Path(path).exists():
        raise missing
