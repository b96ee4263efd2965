"""Curves, pictures and metrics in MLflow: one run a stage under one parent run a pipeline.

The truth about quality is results/<stage>/metrics.json; MLflow mirrors it. Nothing of MLflow's (ids, times) ever goes
back into a result. Where it all goes is the caller's affair: any tracking URI will do.
"""

import csv
import hashlib
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from srfoundry.core.errors import FoundryError

BATCH = 500  # values a call; MLflow takes 1000 at most
SECONDS = 3.0  # between calls: a call costs about as much as one value
PARENT = "mlflow.parentRunId"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def digest(path: Path) -> str:
    """md5 of a file, empty where there is none."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.exists() else ""


class StageRun:
    """The MLflow run of one stage. Values wait a moment and go in batches, so that logging costs training little.

    MLflow's own asynchronous logging gives up what a silent server does not take; here it waits for the next try.
    """

    def __init__(self, client: MlflowClient, run_id: str, parent_id: str) -> None:
        self.id = run_id
        self._client = client
        self._parent = parent_id
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note one point of some curves; a server that does not answer stops no training."""
        now = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now, step) for name, value in values.items()]
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what waits. On failure it warns and keeps the values for the next try."""
        self._sent = time.monotonic()
        try:
            while self._waiting:
                self._client.log_batch(self.id, metrics=self._waiting[:BATCH])
                del self._waiting[:BATCH]
        except MlflowException as error:
            warnings.warn(f"MLflow took no values ({str(error).splitlines()[0][:120]}); they wait", stacklevel=2)

    def complete(self, history: Sequence[Mapping[str, float]]) -> None:
        """Add the points of a finished curve that never arrived, those before a kill for example."""
        self.flush()
        names = {name for row in history for name in row if name != "step"}
        known = {name: {point.step for point in self._client.get_metric_history(self.id, name)} for name in names}
        for place, row in enumerate(history):
            step = int(row.get("step", place))
            self.log(step, {name: row[name] for name in names & set(row) if step not in known[name]})

    def metrics(self, values: Mapping[str, Any], file: Path) -> None:
        """Mirror final metrics: the numbers among `values`, and the md5 of the file that holds the truth."""
        for name, value in flatten(values).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self._waiting.append(Metric(name, float(value), int(time.time() * 1000), 0))
        self.flush()
        self._client.set_tag(self.id, "results.md5", digest(file))

    def picture(self, path: Path) -> None:
        """Add a picture, or any small file, to the run."""
        self._client.log_artifact(self.id, str(path), "pictures")

    def tag(self, name: str, value: str) -> None:
        """Set one tag."""
        self._client.set_tag(self.id, name, value)

    def close(self, status: str = "FINISHED") -> None:
        """End the run (FINISHED, FAILED or KILLED), and its parent with it until the next stage starts."""
        self.flush()
        self._client.set_terminated(self.id, status)
        self._client.set_terminated(self._parent, status)


class Tracker:
    """One experiment of an MLflow store. Make it, and parents, under a lock: two new sqlite stores at once crash."""

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        try:
            self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            known = self.client.get_experiment_by_name(experiment)
            if known is None:
                local = artifacts.absolute().as_uri() if uri.startswith("sqlite:") else None
                self.experiment = self.client.create_experiment(experiment, artifact_location=local)
            else:
                self.experiment = known.experiment_id
        except MlflowException as error:
            reason = str(error).splitlines()[0][:160]
            raise FoundryError(f"MLflow at {uri} does not answer: {reason}; check MLFLOW_TRACKING_URI") from None

    def parent(self, pipeline: str, tags: Mapping[str, str]) -> str:
        """Id of the run that holds one pipeline's stages (one params.yaml at one commit), made at first use."""
        found = self._search(f"tags.`pipeline` = '{pipeline}' and tags.`dvc.stage` = 'pipeline'")
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        marks = {**tags, "pipeline": pipeline, "dvc.stage": "pipeline"}
        return self.client.create_run(self.experiment, tags=marks, run_name=f"pipeline {pipeline[:8]}").info.run_id

    def stage(
        self, name: str, *, parent: str, key: str, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> StageRun:
        """The run of a stage under `parent`: the unfinished one of a killed process with the same key, or a new one."""
        for run in self._search(f"tags.`dvc.stage` = '{name}' and attributes.status != 'FINISHED'"):
            marks = run.data.tags
            if run.info.status == "FAILED":
                continue
            if marks.get("key") == key and marks.get(PARENT) == parent:
                self.client.update_run(run.info.run_id, status="RUNNING")
                self.client.log_batch(run.info.run_id, tags=[RunTag(tag, value) for tag, value in tags.items()])
                return StageRun(self.client, run.info.run_id, parent)
            if run.info.status == "RUNNING" and marks.get("process.host") == tags.get(
                "process.host"
            ):  # one writer a stage: that process is dead
                self.client.set_terminated(run.info.run_id, "KILLED")
        return self._child(name, parent, params, {**tags, "key": key})

    def mirror(
        self, name: str, *, parent: str, results: Path, params: Mapping[str, Any], tags: Mapping[str, str]
    ) -> bool:
        """Give `parent` the run of a stage that DVC restored instead of running, from its results folder.

        True if a run was made; False where one with these results is there, or where there are no results."""
        file = results / "metrics.json"
        if not file.exists():
            return False
        for run in self._search(f"tags.`dvc.stage` = '{name}' and tags.`{PARENT}` = '{parent}'"):
            if run.data.tags.get("results.md5") == digest(file):
                return False
        child = self._child(name, parent, params, {**tags, "restored": "true"})
        for step, values in _curve(results / "curves.csv"):
            child.log(step, values)
        child.metrics(json.loads(file.read_text()), file)
        for picture in sorted(results.rglob("*.png")):
            child.picture(picture)
        child.flush()
        self.client.set_terminated(child.id, "FINISHED")
        return True

    def _child(self, name: str, parent: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> StageRun:
        marks = {**tags, PARENT: parent, "dvc.stage": name}
        run = self.client.create_run(self.experiment, tags=marks, run_name=name)
        flat = [Param(key, str(value)[:500]) for key, value in flatten(params).items()]
        for start in range(0, len(flat), 100):
            self.client.log_batch(run.info.run_id, params=flat[start : start + 100], tags=[RunTag("dvc.stage", name)])
        return StageRun(self.client, run.info.run_id, parent)

    def _search(self, query: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], query, ViewType.ACTIVE_ONLY, max_results=200))


def _curve(path: Path) -> list[tuple[int, dict[str, float]]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    points: list[tuple[int, dict[str, float]]] = []
    for index, row in enumerate(rows):
        values = {name: float(value) for name, value in row.items() if value}
        step = values.pop("step", float(index))
        points.append((int(step), {name: value for name, value in values.items() if math.isfinite(value)}))
    return points
