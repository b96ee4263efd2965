"""MLflow mirrors what results/ holds: the same numbers, one run a stage, whatever was killed or restored."""

import json
from pathlib import Path

import pytest

from pipelines.support import sender
from srfoundry.core.errors import FoundryError
from srfoundry.tracking import runs
from srfoundry.tracking.names import flatten
from srfoundry.tracking.runs import PARENT, Tracker
from tests.conftest import Toy, wait_until

TAGS = {"git.commit": "abc", "process.host": "here:/folder"}


@pytest.fixture
def tracker(tmp_path: Path, mlflow_store: str) -> Tracker:
    """A tracker on a fresh store."""
    return Tracker(mlflow_store, "srfoundry", tmp_path / "mlartifacts")


def _open(tracker: Tracker, name: str = "dual", key: str = "k") -> str:
    parent = tracker.parent("pipeline-1", {"git.commit": "abc"})
    return tracker.stage(name, parent=parent, key=key, params={"dual": {"steps": 3}}, tags=TAGS, began=1000)


def _parent(tracker: Tracker, run: str) -> str:
    return tracker.client.get_run(run).data.tags[PARENT]


def test_run_holds_params_curves_and_tags_in_few_calls(tracker: Tracker) -> None:
    """Everything arrives."""
    run = _open(tracker)
    calls: list[int] = []
    send = tracker.client.log_batch
    tracker.client.log_batch = lambda *given, **named: (calls.append(1), send(*given, **named))[1]
    tracker.points(run, [("loss", 1 / (step + 1), 1000 + step, step) for step in range(1200)])
    assert len(calls) == 3
    tracker.end(run, _parent(tracker, run), "FINISHED", stage="dual", error="", moment=5000)
    stored = tracker.client.get_run(run)
    assert (stored.info.status, stored.info.start_time, stored.info.end_time) == ("FINISHED", 1000, 5000)
    assert stored.data.params == {"dual.steps": "3"}
    assert stored.data.tags["dvc.stage"] == "dual" and stored.data.tags["git.commit"] == "abc"
    history = tracker.client.get_metric_history(run, "loss")
    assert sorted(metric.step for metric in history) == list(range(1200))


def test_one_bad_name_takes_no_other_along(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photograph may be called IMG (1); what MLflow refuses for another reason is left out alone."""
    run = _open(tracker)
    tracker.points(run, [("good", 1.0, 1, 0), ("psnr.IMG (1)", 2.0, 1, 0)])
    values = tracker.client.get_run(run).data.metrics
    assert values["good"] == 1.0 and sorted(values.values()) == [1.0, 2.0] and len(values) == 2
    monkeypatch.setattr(runs, "safe", lambda name: name)
    with pytest.warns(UserWarning, match="refuses a value"):
        tracker.points(run, [("late", 1.0, 1, 0), ("a//b", 2.0, 1, 0)])
    assert tracker.client.get_run(run).data.metrics["late"] == 1.0


def test_finished_curve_fills_the_gaps(tracker: Tracker) -> None:
    """Only what is missing is sent."""
    run = _open(tracker)
    tracker.points(run, [("loss", 0.5, 1, 2)])
    tracker.complete(run, [{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": 9.0}, {"step": 3.0, "loss": 0.1}], 7)
    history = {point.step: point.value for point in tracker.client.get_metric_history(run, "loss")}
    assert history == {1: 1.0, 2: 0.5, 3: 0.1}


def test_cause_of_a_failure_stands_on_stage_and_pipeline(tracker: Tracker) -> None:
    """Until the stage succeeds."""
    run = _open(tracker)
    parent = _parent(tracker, run)
    tracker.end(run, parent, "FAILED", stage="compress@50", error="low is 3", moment=5)
    assert tracker.client.get_run(run).data.tags["error"] == "low is 3"
    whole = tracker.client.get_run(parent)
    assert whole.info.status == "FAILED" and "low is 3" in [
        text for name, text in whole.data.tags.items() if name.startswith("error.compress")
    ]
    again = _open(tracker)
    assert again != run
    tracker.end(again, parent, "FINISHED", stage="compress@50", error="", moment=6)
    assert not [name for name in tracker.client.get_run(parent).data.tags if name.startswith("error.")]


def test_stages_share_one_parent(tracker: Tracker) -> None:
    """One pipeline, one parent run; another params.yaml or commit, another parent."""
    first, second = _open(tracker, "dual"), _open(tracker, "prune")
    parents = {_parent(tracker, run) for run in (first, second)}
    assert len(parents) == 1
    assert tracker.parent("pipeline-2", {}) not in parents


def test_killed_run_is_continued_and_another_experiment_is_not(tracker: Tracker) -> None:
    """A run that was left RUNNING goes on under the same key; under another it is closed as KILLED."""
    first = _open(tracker, key="one")
    assert _open(tracker, key="one") == first
    other = _open(tracker, key="two")
    assert other != first
    assert tracker.client.get_run(first).info.status == "KILLED"
    tracker.end(other, _parent(tracker, other), "FINISHED", stage="dual", error="", moment=1)
    assert _open(tracker, key="two") != other  # finished runs stay as they are


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
    wait_until(lambda: not sender.boxes(toy.root))
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
