"""What a stage tells of itself is lines of a file: at once there, never in the way, whole after a full disk."""

import json
import os
import time
from pathlib import Path

import pytest

from srfoundry.tracking import spool
from srfoundry.tracking.names import flatten, safe
from srfoundry.tracking.spool import Away, Box, StageRun


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    """A run that has just begun."""
    return StageRun(tmp_path / "telemetry" / "box", {"stage": "dual", "process": "x"})


def test_events_come_in_order_and_are_read_once(run: StageRun, tmp_path: Path) -> None:
    """From any place on; who reads notes where it stopped."""
    picture, file = tmp_path / "curves.png", tmp_path / "metrics.json"
    picture.write_bytes(b"a picture")
    file.write_text("{}")
    run.log(3, {"loss": 0.5})
    run.complete([{"step": 3.0, "loss": 0.5}])
    run.metrics({"a": {"b": 1}, "text": "x", "flag": True}, file)
    run.picture(picture)
    picture.unlink()  # the next run may have removed it before it is sent
    run.close("FAILED", "why")
    events = [event for event, _ in run.box.events(0)]
    kinds = [event["event"] for event in events]
    assert kinds == ["open", "points", "complete", "points", "tag", "picture", "close"]
    assert events[1]["points"][0][0] == "loss" and events[1]["points"][0][3] == 3
    assert [point[:2] for point in events[3]["points"]] == [["a.b", 1.0]]
    assert (run.box.folder / "pictures" / "curves.png").read_bytes() == b"a picture"
    assert events[-1]["status"] == "FAILED" and events[-1]["error"] == "why" and run.box.closed
    middle = run.box.events(0)[3][1]
    assert [event["event"] for event, _ in run.box.events(middle)] == kinds[4:]
    assert run.box.opening()["stage"] == "dual"


def test_what_a_full_disk_cut_short_takes_nothing_along(run: StageRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning for all that is lost; later events are read."""
    write = os.write
    monkeypatch.setattr(spool.os, "write", lambda file, line: write(file, line[: len(line) // 2]))
    with pytest.warns(UserWarning, match="telemetry is not kept.*no room"):
        run.log(1, {"loss": 1.0})
    run.log(2, {"loss": 1.0})  # said once
    monkeypatch.setattr(spool.os, "write", write)
    run.log(3, {"loss": 1.0})
    assert [event["points"][0][3] for event, _ in run.box.events(0) if event["event"] == "points"] == [3]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """Not the end of a stage."""
    (tmp_path / "telemetry").write_text("a file is in the way")
    with pytest.warns(UserWarning, match="telemetry is not kept"):
        run = StageRun(tmp_path / "telemetry" / "box", {})
    run.log(1, {"loss": 1.0})
    run.close()
    assert run.id is None and run.box.opening() == {}


def test_a_recipients_progress_is_kept(run: StageRun) -> None:
    """In the box, whole or not at all."""
    assert run.box.state("mlflow") == {"offset": 0, "done": False} and run.id is None
    run.box.save("mlflow", {"offset": 7, "done": False, "run": "abc"})
    assert run.box.state("mlflow")["offset"] == 7 and run.id == "abc"
    run.box.mark("mlflow", "silent")
    assert run.box.away("mlflow") == "silent"
    run.box.mark("mlflow", "")
    assert run.box.away("mlflow") == ""
    run.box.remove()
    assert run.box.events(0) == [] and run.box.size() == 0
    with pytest.raises(Away):
        Box(Path("/proc/nothing")).save("mlflow", {})


def test_a_point_costs_a_training_nothing(run: StageRun) -> None:
    """Thousands in a moment."""
    began = time.process_time()
    for step in range(2000):
        run.log(step, {"loss": 1.0, "psnr": 30.0})
    assert time.process_time() - began < 2.0
    assert len(run.box.events(0)) == 2001


@pytest.mark.parametrize("name", ["psnr_y", "a.b/c d", "dvc.dep.src/srfoundry", "é", "photo-1"])
def test_usual_names_stay(name: str) -> None:
    """MLflow takes them."""
    assert safe(name) == name


@pytest.mark.parametrize(
    "name", ["IMG (1)", "a//b", "../x", "/abs", "x" * 400, "what?", ".", "a/./b", "100%", "\udcff", ""]
)
def test_other_names_are_made_safe_and_stay_apart(name: str) -> None:
    """As MLflow's own check has it."""
    from mlflow.utils.validation import _validate_metric, _validate_tag

    made = safe(name)
    _validate_metric(made, 1.0, 0, 0)
    _validate_tag(made, "x")
    assert made != safe(name + "!") and json.dumps(made)


def test_two_names_stay_two() -> None:
    """Though they read alike."""
    assert safe("IMG (1)") != safe("IMG [1]") and safe("IMG (1)").startswith("IMG _1_")
    assert flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
