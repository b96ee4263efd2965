"""Curves, pictures and metrics in MLflow: one run a stage under one parent run a pipeline.

The truth about quality is results/<stage>/metrics.json; MLflow mirrors it. Nothing of MLflow's (ids, times) ever goes
back into a result. Where it all goes is the caller's affair: any tracking URI will do.
"""

import csv
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from srfoundry.core.urls import redacted
from srfoundry.tracking.names import flatten, numbers, safe
from srfoundry.tracking.spool import digest, milliseconds
from srfoundry.tracking.stores import first_line, reached

BATCH = 500  # values a call; MLflow takes 1000 at most, and a call costs about as much as one value
PARENT = "mlflow.parentRunId"
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # what was sent is wrong, and will be at the next try

Point = tuple[str, float, int, int]  # name, value, milliseconds, step


class Tracker:
    """One experiment of an MLflow store. Make it, and parents, under a lock: two new sqlite stores at once crash."""

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        with reached(uri):
            self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            known = self.client.get_experiment_by_name(experiment)
            if known is None:
                local = artifacts.absolute().as_uri() if uri.startswith("sqlite:") else None
                self.experiment = self.client.create_experiment(experiment, artifact_location=local)
            else:
                self.experiment = known.experiment_id

    def parent(self, pipeline: str, tags: Mapping[str, str]) -> str:
        """Id of the run that holds one pipeline's stages (one params.yaml at one commit), made at first use."""
        found = self._search(f"tags.`pipeline` = '{pipeline}' and tags.`dvc.stage` = 'pipeline'")
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        marks = {**tags, "pipeline": pipeline, "dvc.stage": "pipeline"}
        return self.client.create_run(self.experiment, tags=marks, run_name=f"pipeline {pipeline[:8]}").info.run_id

    def stage(
        self, name: str, *, parent: str, key: str, params: Mapping[str, Any], tags: Mapping[str, str], began: int
    ) -> str:
        """Id of a stage's run under `parent`: the unfinished one of a killed process with the same key, or a new one.

        Args:
            name: of the stage.
            parent: id of the parent run.
            key: of the experiment; a run with another one is another run.
            params: nested values.
            tags: for people.
            began: milliseconds.
        """
        for run in self._search(f"tags.`dvc.stage` = '{name}' and attributes.status != 'FINISHED'"):
            marks = run.data.tags
            if run.info.status == "FAILED":
                continue
            if marks.get("key") == key and marks.get(PARENT) == parent:
                self.client.update_run(run.info.run_id, status="RUNNING")
                self._tags(run.info.run_id, tags)
                return run.info.run_id
            if run.info.status == "RUNNING" and marks.get("process.host") == tags.get(
                "process.host"
            ):  # one writer a stage: that process is dead
                self.client.set_terminated(run.info.run_id, "KILLED")
        return self._child(name, parent, params, {**tags, "key": key}, began)

    def points(self, run_id: str, points: Sequence[Point]) -> None:
        """Send points of curves. One that MLflow refuses is left out, and takes no other along."""
        found = [Metric(safe(name), value, moment, step) for name, value, moment, step in points]
        for start in range(0, len(found), BATCH):
            batch = found[start : start + BATCH]
            try:
                self.client.log_batch(run_id, metrics=batch)
            except MlflowException as error:
                if error.error_code not in REFUSED:
                    raise
                for point in batch:
                    with refusable():
                        self.client.log_batch(run_id, metrics=[point])

    def complete(self, run_id: str, rows: Sequence[Mapping[str, float]], moment: int) -> None:
        """Add the points of a finished curve that never arrived."""
        names = {name for row in rows for name in row if name != "step"}
        known = {name: {point.step for point in self.client.get_metric_history(run_id, safe(name))} for name in names}
        steps = [int(row.get("step", place)) for place, row in enumerate(rows)]
        missing = [
            (name, float(row[name]), moment, step)
            for step, row in zip(steps, rows, strict=True)
            for name in names & set(row)
            if step not in known[name]
        ]
        self.points(run_id, missing)

    def end(self, run_id: str, parent: str, status: str, *, stage: str, error: str, moment: int) -> None:
        """End a stage's run, and its parent with it until the next stage starts; a cause stands on both."""
        if error:
            self._tags(run_id, {"error": error})
            self._tags(parent, {f"error.{stage}": error})
        else:
            for run, name in ((run_id, "error"), (parent, safe(f"error.{stage}"))):
                if name in self.client.get_run(run).data.tags:  # of a try that failed before
                    self.client.delete_tag(run, name)
        for run in (run_id, parent):
            self.client.set_terminated(run, status, moment)

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
        now = milliseconds()
        child = self._child(name, parent, params, {**tags, "restored": "true"}, now)
        curve = [(key, value, now, step) for step, row in _curve(results / "curves.csv") for key, value in row.items()]
        self.points(child, curve)
        self.points(child, [(key, value, now, 0) for key, value in numbers(json.loads(file.read_text())).items()])
        self._tags(child, {"results.md5": digest(file)})
        for picture in sorted(results.rglob("*.png")):
            self.client.log_artifact(child, str(picture), "pictures")
        self.client.set_terminated(child, "FINISHED")
        return True

    def _child(self, name: str, parent: str, params: Mapping[str, Any], tags: Mapping[str, str], began: int) -> str:
        marks = {PARENT: parent, "dvc.stage": name}
        run_id = self.client.create_run(self.experiment, began, marks, run_name=name).info.run_id
        self._tags(run_id, tags)
        flat = [Param(safe(key), redacted(str(value))[:500]) for key, value in flatten(params).items()]
        for start in range(0, len(flat), 100):
            self.client.log_batch(run_id, params=flat[start : start + 100])
        return run_id

    def _tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(
            run_id, tags=[RunTag(safe(name), redacted(str(value))[:5000]) for name, value in tags.items()]
        )

    def _search(self, query: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], query, ViewType.ACTIVE_ONLY, max_results=200))


@contextmanager
def refusable() -> Iterator[None]:
    """Leave out what MLflow will never take; what is sent again and again would stop all that waits behind it."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in REFUSED:
            raise
        warnings.warn(f"MLflow refuses a value: {first_line(error)}", stacklevel=3)


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
