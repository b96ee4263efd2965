"""Registered models by address, models:/NAME@ALIAS or models:/NAME/VERSION, from wherever the registry is.

A server is asked over HTTP (mlflow_server.py) and MLflow need not be installed; a registry in a file or a database is
read by MLflow itself (tracking/fetching.py). A model that was pulled from a server is kept in a folder by its md5.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srfoundry.core import atomic
from srfoundry.core.addresses import resolve
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.runtime.mlflow_server import Absent, MlflowServer
from srfoundry.runtime.session import BICUBIC

PREFIX = "models:/"
FETCHING = "srfoundry.tracking.fetching"  # above this package, and not part of a lean installation


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: of the version, as MLflow writes it.
        tags: what was noted there; `model.md5` is its file's.
        aliases: that it holds.
        source: where MLflow says that its files come from.
    """

    name: str
    number: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    source: str = ""


class Missing(FoundryError):
    """Nothing is registered at an address: the registry has answered, and knows of none."""


def find(address: str) -> Version:
    """The version at an address now; asks the registry each time, in milliseconds where that is a server.

    Args:
        address: models:/NAME@ALIAS or models:/NAME/VERSION; MLFLOW_TRACKING_URI says where the registry is, else it
            is the project's own in the working folder.

    Raises:
        Missing: nothing is registered there.
        FoundryError: the address is malformed, or the registry does not answer.
    """
    name, alias, number = parse(address)
    if not _is_server():
        return _by_mlflow("find", address)(address)
    server = MlflowServer(_registry())
    try:
        found = (
            server.ask("mlflow/registered-models/alias", name=name, alias=alias)
            if alias
            else server.ask("mlflow/model-versions/get", name=name, version=number)
        )["model_version"]
        aliases = tuple(str(each) for each in found.get("aliases", []))
        return Version(str(found["name"]), str(found["version"]), _tags(found), aliases, str(found.get("source", "")))
    except Absent:
        raise missing(address, _registry()) from None
    except KeyError as error:
        raise _no_mlflow(error) from None


def fetch(version: Version) -> bytes:
    """The .onnx file of a version, checked by its md5; from the cache where it was pulled before.

    Raises:
        FoundryError: its file is gone or changed, or the registry does not answer.
    """
    address = f"{PREFIX}{version.name}/{version.number}"
    if not _is_server():
        return _by_mlflow("fetch", address)(version)
    md5 = version.tags.get("model.md5", "")
    kept = cache() / f"{md5}.onnx"
    blob = _kept(kept)
    if not md5 or blob is None or _md5(blob) != md5:
        blob = _download(version, md5)
        if blob is None:
            raise lost(address, version.number)
        _keep(kept, blob)
    return blob


def pull(address: str) -> bytes:
    """The .onnx file at an address; `find` and `fetch` in one."""
    return fetch(find(address))


def aliases(name: str) -> list[str]:
    """The aliases of a registered model, sorted; asks for this model alone.

    Raises:
        Missing: no model of this name is registered.
        FoundryError: the registry does not answer.
    """
    address = f"{PREFIX}{name}"
    if not _is_server():
        return _by_mlflow("aliases", address)(name)
    server = MlflowServer(_registry())
    try:
        found = server.ask("mlflow/registered-models/get", name=name)["registered_model"]
        return sorted(str(each["alias"]) for each in found.get("aliases", []))
    except Absent:
        raise missing(address, _registry()) from None
    except KeyError as error:
        raise _no_mlflow(error) from None


def versions() -> list[dict[str, str]]:
    """Every registered version, newest first within its model: model, version, aliases, figure, scale.

    A model whose name MLflow cannot be asked for (`named`) has one line, without a version, that says so.

    Raises:
        FoundryError: nothing is registered, or the registry does not answer.
    """
    if not _is_server():
        return _by_mlflow("versions", "the list of models")()
    server = MlflowServer(_registry())
    try:
        rows = [row for name, aliases in _models(server) for row in _rows(server, name, aliases)]
    except Absent as error:
        raise FoundryError(
            f"MLflow at {server.url} does not list its models: {error}; is it of a version that srfoundry knows?"
        ) from None
    if not rows:
        raise nothing(_registry())
    return rows


def _models(server: MlflowServer) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Names of the registered models, and what each alias holds."""
    for model in server.every("registered_models", "mlflow/registered-models/search", order_by="name ASC"):
        yield str(model["name"]), [(str(each["alias"]), str(each["version"])) for each in model.get("aliases", [])]


def _rows(server: MlflowServer, name: str, aliases: list[tuple[str, str]]) -> Iterator[dict[str, str]]:
    if not can_be_named(name):
        yield unlisted(name)
        return
    found = server.every("model_versions", "mlflow/model-versions/search", filter=named(name))
    for version in sorted(found, key=lambda each: -int(each["version"])):
        number = str(version["version"])
        held = ",".join(sorted(alias for alias, holder in aliases if holder == number))
        yield row(name, number, held, _tags(version))


def unlisted(name: str) -> dict[str, str]:
    """The line of a model whose versions MLflow cannot be asked for."""
    return {"model": name, "version": "", "aliases": "", "figure": "not listed: its name has ' and \"", "scale": ""}


def can_be_named(name: str) -> bool:
    """Whether MLflow can be asked for the versions of a model of this name: its filters know no escapes."""
    return not {"'", '"'} <= set(name)


def named(name: str) -> str:
    """MLflow's filter for the versions of a model.

    Args:
        name: of the registered model.

    Raises:
        FoundryError: it has both kinds of quotes.
    """
    if not can_be_named(name):
        raise FoundryError(f"a model's name must not hold both ' and \", got {name}; choose another name")
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def row(name: str, number: str, aliases: str, tags: Mapping[str, str]) -> dict[str, str]:
    """A line of that list."""
    figure, test = f"{tags.get('metric', '')} = {tags.get('value', '')}", tags.get("judged.on", BICUBIC)
    figure += "" if test == BICUBIC else f" ({test})"
    return {"model": name, "version": number, "aliases": aliases, "figure": figure, "scale": tags.get("scale", "")}


def parse(address: str) -> tuple[str, str, str]:
    """Name, alias and version of an address; one of the latter two is empty.

    Raises:
        FoundryError: it is malformed.
    """
    rest = address.removeprefix(PREFIX)
    by_alias = "@" in rest
    name, _, mark = rest.partition("@") if by_alias else rest.rpartition("/")
    if not address.startswith(PREFIX) or not name or not mark:
        raise FoundryError(f"{address} is no model address; write models:/NAME@champion or models:/NAME/VERSION")
    return (name, mark, "") if by_alias else (name, "", mark)


def missing(address: str, registry: str) -> Missing:
    """What to say where nothing is registered."""
    return Missing(
        f"{address}: no such registered model, version or alias at {redacted(registry)}; `srfoundry models` lists "
        "what there is, `srfoundry register` registers the files in exports/"
    )


def nothing(registry: str) -> FoundryError:
    """What to say of a registry without any model."""
    return FoundryError(
        f"no model is registered at {redacted(registry)}; `srfoundry register` registers the files in exports/, "
        "which `make repro` makes"
    )


def _no_mlflow(error: KeyError) -> FoundryError:
    return FoundryError(f"{redacted(_registry())} answers without {error}; is it an MLflow server?")


def lost(address: str, number: str) -> FoundryError:
    """What to say where a version's file is not what was registered."""
    return FoundryError(
        f"{address}: version {number} is registered but its file is gone or changed (a moved folder?); "
        "use the file under exports/, or register that again: srfoundry register"
    )


def cache() -> Path:
    """The folder of pulled models: SRFOUNDRY_CACHE, else srfoundry in the user's folder of caches."""
    own = os.environ.get("SRFOUNDRY_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "srfoundry"


def _download(version: Version, md5: str) -> bytes | None:
    """The one file of the version that has this md5."""
    server = MlflowServer(_registry())
    try:
        asked = {"name": version.name, "version": version.number}
        folder = str(server.ask("mlflow/model-versions/get-download-uri", **asked).get("artifact_uri", ""))
        logged = version.source.removeprefix(PREFIX)
        files = server.files(folder, logged if logged != version.source and "/" not in logged else None)
        for name in files:
            if name.endswith(".onnx") and _md5(blob := server.download(files[name])) == md5:
                return blob
    except Absent:
        pass
    return None


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    return {str(each["key"]): str(each.get("value", "")) for each in version.get("tags", [])}


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _keep(path: Path, blob: bytes) -> None:
    """A folder that cannot be written, as in a container, costs the next start a download and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, blob)
    except OSError:
        return


def _md5(blob: bytes) -> str:
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


def _registry() -> str:
    return os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI", "")


def _is_server() -> bool:
    return _registry().startswith(("http://", "https://"))


def _by_mlflow(function: str, address: str) -> Any:
    try:
        return resolve(f"{FETCHING}:{function}")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in ("mlflow", "sqlalchemy", "onnx", "alembic"):
            raise
        where = f"the registry is {redacted(_registry())}" if _registry() else "MLFLOW_TRACKING_URI names no server"
        raise FoundryError(
            f"{address}: {where}; set it to the http address of one, or read a registry in a file with "
            "pip install 'srfoundry[tracking]'"
        ) from None
