"""Finished models in MLflow's registry, under one name whose alias `champion` is never worse than it was.

A family shares the name; its smaller members have aliases of their own, which are never worse either.

Registering is idempotent: the same model file is one version, however often its stage runs.
"""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import onnx as onnx_models
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec

from srfoundry.core.errors import FoundryError

CHAMPION, CHALLENGER = "champion", "challenger"
RUNTIME = ["onnxruntime-gpu", "numpy"]  # without a list MLflow writes onnxruntime and onnxruntime-gpu, which collide


@dataclass(frozen=True)
class Registered:
    """Where a model stands: its version, and the alias that it holds now (champion or challenger, of its kind)."""

    version: str
    alias: str
    fresh: bool


def register(
    proto: Any,
    *,
    name: str,
    md5: str,
    metric: str,
    value: float,
    tags: Mapping[str, str],
    run_id: str | None = None,
    alias: str = CHAMPION,
) -> Registered:
    """Ensure that a version with this model exists, and give it the alias that it deserves.

    Args:
        proto: the onnx.ModelProto; `md5` is of the file that it was read from.
        metric, value: the held-out figure that decides, larger is better; e.g. "bicubic.pruned.psnr", dB.
        tags: further facts for people; plain strings.
        run_id: the MLflow run that the version belongs to.
        alias: what the best of its kind is called, `p50` for instance.

    `champion` moves to the version unless its holder has a larger `metric`; then the version is `challenger`
    (`p50_challenger` for another alias). A holder with another metric is not comparable and gives way.
    """
    client = MlflowClient()
    version = _version_with(client, name, md5)
    fresh = version is None
    if version is None:
        number = _log(proto, name, run_id)
        for key, text in {**tags, "model.md5": md5, "metric": metric, "value": f"{value:.6f}"}.items():
            client.set_model_version_tag(name, number, key, text)
        version = client.get_model_version(name, number)
    number = str(version.version)
    challenger = CHALLENGER if alias == CHAMPION else f"{alias}_{CHALLENGER}"
    holder = _holder(client, name, alias)
    better = holder is None or holder.tags.get("metric") != metric or value >= float(holder.tags["value"])
    if holder is not None and str(holder.version) == number:
        return Registered(number, alias, fresh)
    client.set_registered_model_alias(name, alias if better else challenger, number)
    rival = _holder(client, name, challenger)
    if better and rival is not None and str(rival.version) == number:
        client.delete_registered_model_alias(name, challenger)
    return Registered(number, alias if better else challenger, fresh)


def fetch(uri: str) -> bytes:
    """Bytes of the registered ONNX model `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        FoundryError: the address is malformed, nothing is registered there, or its file is gone or changed.
    """
    rest = uri.removeprefix("models:/")
    name, mark = (rest.split("@", 1) if "@" in rest else [*rest.rsplit("/", 1), ""][:2]) if rest else ("", "")
    if not uri.startswith("models:/") or not name or not mark:
        raise FoundryError(f"{uri} is no model address; write models:/NAME@champion or models:/NAME/VERSION")
    missing = FoundryError(f"{uri}: no such registered model at {_store()}; it is made by: dvc repro export")
    _refuse_new_store(missing)
    client = MlflowClient()
    try:
        version = client.get_model_version_by_alias(name, mark) if "@" in rest else client.get_model_version(name, mark)
    except MlflowException:
        raise missing from None
    blob = _bytes(client, version)
    if blob is None:
        raise FoundryError(
            f"{uri}: version {version.version} is registered but its file is gone or changed (a moved folder?); "
            "use the file under exports/, or run: dvc repro --force --single-item export"
        )
    return blob


def versions() -> list[dict[str, str]]:
    """Every registered version, newest first within its model: model, version, aliases, figure, scale.

    Raises:
        FoundryError: nothing was ever registered in this store.
    """
    nothing = FoundryError(f"no model is registered at {_store()}; one is by: make repro")
    _refuse_new_store(nothing)
    client = MlflowClient()
    rows: list[dict[str, str]] = []
    for model in client.search_registered_models(order_by=["name ASC"]):
        found = client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(found, key=lambda item: -int(item.version)):
            whole = client.get_model_version(model.name, version.version)  # a search leaves the aliases out
            tags = whole.tags
            rows.append(
                {
                    "model": model.name,
                    "version": str(whole.version),
                    "aliases": ",".join(sorted(whole.aliases)),
                    "figure": f"{tags.get('metric', '')} = {tags.get('value', '')}",
                    "scale": tags.get("scale", ""),
                }
            )
    if not rows:
        raise nothing
    return rows


def _version_with(client: MlflowClient, name: str, md5: str) -> ModelVersion | None:
    """The newest version whose file is there and has this md5."""
    found = client.search_model_versions(f"name = '{name}' and tags.`model.md5` = '{md5}'")
    for version in sorted(found, key=lambda item: -int(item.version)):
        if _bytes(client, version) is not None:
            return version
    return None


def _log(proto: Any, name: str, run_id: str | None) -> str:
    signature = ModelSignature(_schema(proto.graph.input), _schema(proto.graph.output))
    mlflow.start_run(run_id=run_id)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Any type hint is inferred")  # of MLflow's own modules
            info = onnx_models.log_model(
                proto,
                name=name,
                signature=signature,
                registered_model_name=name,
                onnx_execution_providers=["CUDAExecutionProvider", "CPUExecutionProvider"],
                pip_requirements=RUNTIME,
                save_as_external_data=False,  # one file, the same bytes as under exports/
            )
    finally:
        mlflow.end_run()
    return str(info.registered_model_version)


def _schema(values: Any) -> Schema:
    """Float tensors b c h w of any batch and size, under the names that the graph gives them."""
    return Schema([TensorSpec(np.dtype(np.float32), (-1, 3, -1, -1), value.name) for value in values])


def _bytes(client: MlflowClient, version: ModelVersion) -> bytes | None:
    uri = f"models:/{version.name}/{version.version}"
    try:
        folder = Path(download_artifacts(artifact_uri=uri))
    except (MlflowException, OSError):
        return None
    files = [file for file in folder.rglob("*.onnx") if file.is_file()]
    if len(files) != 1:
        return None
    blob = files[0].read_bytes()
    right = hashlib.md5(blob, usedforsecurity=False).hexdigest() == version.tags.get("model.md5")
    return blob if right else None


def _holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def _store() -> str:
    return mlflow.get_tracking_uri()


def _refuse_new_store(missing: FoundryError) -> None:
    """Looking for a model must not create an empty database."""
    path = _store().removeprefix("sqlite:///")
    if path != _store() and not Path(path).exists():
        raise missing
