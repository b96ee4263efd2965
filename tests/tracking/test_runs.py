"""MLflow mirrors what results/ holds: the same numbers, one run a stage, whatever was killed or restored."""

import json
import warnings
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from srfoundry.core.errors import FoundryError
from srfoundry.tracking.runs import PARENT, StageRun, Tracker, flatten
from tests.conftest import Toy

TAGS = {"git.commit": "abc", "process.host": "here:/folder"}


@pytest.fixture
def tracker(tmp_path: Path, mlflow_store: str) -> Tracker:
    """A tracker on a fresh store."""
    return Tracker(mlflow_store, "srfoundry", tmp_path / "mlartifacts")


def _open(tracker: Tracker, name: str = "dual", key: str = "k") -> StageRun:
    parent = tracker.parent("pipeline-1", {"git.commit": "abc"})
    return tracker.stage(name, parent=parent, key=key, params={"dual": {"steps": 3}}, tags=TAGS)


def test_flatten_joins_names() -> None:
    """Nested metrics become MLflow's flat ones."""
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}


def test_run_holds_params_curves_metrics_and_tags(tracker: Tracker, tmp_path: Path) -> None:
    """Everything that a stage says arrives, in few calls."""
    run = _open(tracker)
    calls: list[int] = []
    send = tracker.client.log_batch
    run._client = tracker.client
    tracker.client.log_batch = lambda *given, **named: (calls.append(1), send(*given, **named))[1]
    for step in range(1200):
        run.log(step, {"loss": 1 / (step + 1)})
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps({"bicubic": {"dual": {"gain_db": 1.5}}, "skipped": ["x"], "n": 2}))
    run.metrics(json.loads(file.read_text()), file)
    run.close()
    assert len(calls) <= 5
    stored = tracker.client.get_run(run.id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {"dual.steps": "3"}
    assert stored.data.metrics["bicubic.dual.gain_db"] == 1.5 and stored.data.metrics["n"] == 2
    assert "skipped" not in stored.data.metrics
    assert stored.data.tags["dvc.stage"] == "dual" and stored.data.tags["git.commit"] == "abc"
    history = tracker.client.get_metric_history(run.id, "loss")
    assert sorted(metric.step for metric in history) == list(range(1200))


def test_stages_share_one_parent(tracker: Tracker) -> None:
    """One pipeline, one parent run; another params.yaml or commit, another parent."""
    first, second = _open(tracker, "dual"), _open(tracker, "prune")
    parents = {tracker.client.get_run(run.id).data.tags[PARENT] for run in (first, second)}
    assert len(parents) == 1
    assert tracker.parent("pipeline-2", {}) not in parents


def test_killed_run_is_continued_and_another_experiment_is_not(tracker: Tracker) -> None:
    """A run that was left RUNNING goes on under the same key; under another it is closed as KILLED."""
    first = _open(tracker, key="one")
    assert _open(tracker, key="one").id == first.id
    other = _open(tracker, key="two")
    assert other.id != first.id
    assert tracker.client.get_run(first.id).info.status == "KILLED"
    other.close()
    assert _open(tracker, key="two").id != other.id  # finished runs stay as they are


def test_mirror_makes_a_missing_run_once(tracker: Tracker, tmp_path: Path) -> None:
    """A stage that DVC restored gets its run out of results/, with curves and pictures."""
    results = tmp_path / "results" / "dual"
    results.mkdir(parents=True)
    (results / "metrics.json").write_text('{"psnr": {"held_out": 31.25}}')
    (results / "curves.csv").write_text("step,loss,psnr\n10,0.5,\n20,0.25,30\n")
    (results / "curves.png").write_bytes(b"a picture")
    parent = tracker.parent("pipeline-1", {})

    def mirror() -> bool:
        return tracker.mirror("dual", parent=parent, results=results, params={"dual": {"steps": 3}}, tags=TAGS)

    assert mirror() and not mirror()
    [run] = tracker._search("tags.`dvc.stage` = 'dual'")
    assert run.data.metrics == {"psnr.held_out": 31.25, "loss": 0.25, "psnr": 30.0}
    assert run.data.tags["restored"] == "true"
    assert [item.path for item in tracker.client.list_artifacts(run.info.run_id, "pictures")] == ["pictures/curves.png"]
    assert [metric.step for metric in tracker.client.get_metric_history(run.info.run_id, "loss")] == [10, 20]
    (results / "metrics.json").write_text('{"psnr": {"held_out": 32.0}}')
    assert mirror()
    assert not tracker.mirror("prune", parent=parent, results=tmp_path / "nothing", params={}, tags={})


def test_silent_server_stops_no_training(tracker: Tracker) -> None:
    """Values wait for a server that does not answer, and arrive when it does."""
    run = _open(tracker)
    send = tracker.client.log_batch

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("database is locked")

    tracker.client.log_batch = refuse
    run.log(1, {"loss": 1.0})
    with pytest.warns(UserWarning, match="database is locked"):
        run.flush()
    tracker.client.log_batch = send
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.flush()
    assert tracker.client.get_run(run.id).data.metrics == {"loss": 1.0}


def test_unusable_address_is_one_line(tmp_path: Path) -> None:
    """What, got, do."""
    with pytest.raises(FoundryError, match="MLFLOW_TRACKING_URI"):
        Tracker("nonsense://x", "srfoundry", tmp_path)


def test_json_equals_mlflow_through_a_real_stage(toy: Toy) -> None:
    """The file and the run of one real stage process hold the same numbers, and its children the same parent."""
    from mlflow.tracking import MlflowClient

    toy.stage("pretrain", "stage.metrics({'a': {'b': 1 / 3}, 'n': 2})\nstage.curve([{'step': 1, 'loss': 0.5}])")
    toy.stage("metatrain", "stage.metrics({'c': 2 / 3})", deps=["results/pretrain/metrics.json"])
    for name in ("pretrain", "metatrain"):
        code, said = toy.run(name)
        assert code == 0, said
    client = MlflowClient(tracking_uri=f"sqlite:///{toy.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    runs = {run.data.tags["dvc.stage"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"pipeline", "pretrain", "metatrain"}, "one run a stage, and nothing mirrored twice"
    for name in ("pretrain", "metatrain"):
        written = flatten(json.loads((toy.root / "results" / name / "metrics.json").read_text()))
        assert written.items() <= runs[name].data.metrics.items()  # which hold the curves' ends too
        assert runs[name].data.tags[PARENT] == runs["pipeline"].info.run_id
        assert runs[name].data.tags["prefect.flow_run_id"]
        assert runs[name].data.params["shared.seed"]
    assert runs["pipeline"].info.status == "FINISHED"
