"""MLflow and Prefect may go away at any moment: no stage fails or waits for them, and what was missed arrives later."""

import errno
import json
import shutil
import time
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipelines.support import sender
from pipelines.support.locks import locked
from pipelines.support.processes import alive
from srfoundry.tracking.delivery import MlflowRecipient
from srfoundry.tracking.runs import PARENT
from srfoundry.tracking.spool import StageRun, Waits
from tests.conftest import Toy, wait_until
from tests.outages import Line, Mode
from tests.shipped import SHIPPED

LOGS = """
import time
picture = stage.output("results/{0}/picture.png")
began = time.perf_counter()
for step in range(200):
    stage.log(step, {{"loss": 1.0 / (step + 1)}})
    {1}
stage.metrics({{"n": 1}})
picture.write_bytes(b"a picture")
stage.picture("picture", picture)
stage.output("models/{0}.txt").write_text(str(time.perf_counter() - began))
"""


def _runs(toy: Toy) -> dict[str, str]:
    """Status of each run in the toy's own MLflow store, by stage."""
    client = MlflowClient(tracking_uri=f"sqlite:///{toy.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("srfoundry")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return {run.data.tags["dvc.stage"]: run.info.status for run in runs}


@pytest.mark.parametrize("mode", ["refused", "silent", "broken"])
def test_servers_that_are_away_cost_nothing(toy: Toy, mode: str) -> None:
    """From the start: refused, silent, or answering 500. One line each says so, and where it waits."""
    toy.stage("pretrain", LOGS.format("pretrain", "pass"))
    kind: Mode = "broken" if mode == "broken" else "silent"
    with Line(kind) as line:
        url = "http://127.0.0.1:9" if mode == "refused" else line.url
        code, said = toy.run("pretrain", MLFLOW_TRACKING_URI=url, PREFECT_API_URL=f"{url}/api")
        assert code == 0 and "Traceback" not in said, said
        assert float((toy.root / "models" / "pretrain.txt").read_text()) < 5.0, "the training waited"
        [box] = sender.boxes(toy.root)
        assert [event["event"] for event, _ in box.events(0)][-1] == "close"
        wait_until(lambda: "does not answer" in box.away("mlflow") and "does not answer" in box.away("prefect"))


def test_the_end_of_a_stage_says_what_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And waits no longer than it may."""
    run = StageRun(tmp_path / sender.FOLDER / "1-dual-1", {"stage": "dual"})
    run.close()
    run.box.mark("mlflow", "MLflow at http://x does not answer")
    with locked(tmp_path / sender.FOLDER / sender.LOCK):  # as the sender does
        sender.wait(tmp_path, run.box, {"mlflow": 60.0, "prefect": 0.2})
    said = capsys.readouterr().err
    assert said.startswith("MLflow at http://x does not answer; what it misses waits in .ckpt/telemetry")
    assert len(said.splitlines()) == 1


def test_what_mlflow_missed_arrives_with_the_next_stage(toy: Toy) -> None:
    """Curves, pictures, metrics, the end: as if nothing had been."""
    toy.stage("pretrain", LOGS.format("pretrain", "pass"))
    toy.stage("metatrain", LOGS.format("metatrain", "pass"))
    store = toy.root / "mlflow.db"
    whole = store.rename(toy.root / "kept.db")
    store.write_bytes(b"damaged" * 1000)
    code, said = toy.run("pretrain")
    assert code == 0 and "mlflow.db cannot be used" in said, said
    whole.replace(store)
    code, said = toy.run("metatrain")
    assert code == 0, said
    wait_until(lambda: not sender.boxes(toy.root))
    assert _runs(toy) == {"pretrain": "FINISHED", "metatrain": "FINISHED", "pipeline": "FINISHED"}
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'pretrain'")
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 200 and run.data.metrics["n"] == 1.0
    assert [item.path for item in client.list_artifacts(run.info.run_id, "pictures")] == ["pictures/picture.png"]
    assert run.info.end_time and run.info.end_time - run.info.start_time < 60_000, "the stage's times, not the sender's"


def test_prefect_that_goes_away_in_training_and_comes_back(toy: Toy) -> None:
    """The flow run ends as it should, late."""
    wait = (
        "time.sleep(0.02 if (stage.root / 'away').exists() else 0.2)\n    (stage.root / 'step').write_text(str(step))"
    )
    toy.stage("pretrain", LOGS.format("pretrain", wait))
    toy.stage("metatrain", LOGS.format("metatrain", "pass"))
    with Line("through", toy.environment["PREFECT_API_URL"].removesuffix("/api")) as line:
        process = toy.start("pretrain", PREFECT_API_URL=f"{line.url}/api")
        wait_until(lambda: toy.prefect_states(process.pid) == ["RUNNING"], process=process)
        line.cut("silent")
        (toy.root / "away").touch()
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
        assert toy.prefect_states(process.pid) == ["RUNNING"]
        line.cut("through")
        code, said = toy.run("metatrain")
        assert code == 0, said
        wait_until(lambda: toy.prefect_states(process.pid) == ["COMPLETED"])


def test_a_run_in_mlflow_names_its_flow_run_however_late(tmp_path: Path, mlflow_store: str) -> None:
    """A moment without Prefect, just as MLflow had everything, does not cost the link between them."""
    opening = {"key": "1", "pipeline": "one", "common": {}, "params": {}, "tags": {"dvc.stage": "dual"}, "above": []}
    run = StageRun(tmp_path / "box", {"stage": "dual", "mlflow": mlflow_store, **opening})
    run.close()
    recipient = MlflowRecipient(tmp_path)
    run.box.mark("prefect", "Prefect does not answer")
    with pytest.raises(Waits, match="Prefect does not answer"):
        recipient.deliver(run.box)
    client = MlflowClient(tracking_uri=mlflow_store)
    assert run.id and client.get_run(run.id).info.status == "FINISHED"
    assert not run.box.state("mlflow")["done"], "the box is kept until both have met"
    run.box.save("prefect", {"offset": run.box.size(), "done": True, "run": "flow-7"})
    run.box.mark("prefect", "")
    recipient.deliver(run.box)
    assert client.get_run(run.id).data.tags["prefect.flow_run_id"] == "flow-7" and run.box.state("mlflow")["done"]


SHOWS = """
from pathlib import Path
from pipelines.support import server
server.prepare_environment(Path.cwd())
from pipelines.support.prefect_reports import PrefectRecipient, prepare
from srfoundry.tracking.delivery import MlflowRecipient
from srfoundry.tracking.spool import Away, StageRun
prepare()
address = "http://user:secret@127.0.0.1:9"
run = StageRun(Path("box"), {"stage": "dual", "prefect": f"{address}/api", "mlflow": address})
for recipient in (PrefectRecipient(Path.cwd()), MlflowRecipient(Path.cwd())):
    try:
        recipient.deliver(run.box)
    except Away as error:
        print(error)
"""


def test_no_password_of_an_address_is_shown(toy: Toy) -> None:
    """Nor kept where others may read it."""
    (toy.root / "shows.py").write_text(SHOWS)
    code, said = toy.run("shows")
    assert code == 0 and "secret" not in said, said
    assert "Prefect at http://127.0.0.1:9/api" in said and "MLflow at http://127.0.0.1:9 " in said, said
    assert (toy.root / "box").stat().st_mode & 0o077 == 0
    assert (toy.root / "box" / "events.jsonl").stat().st_mode & 0o077 == 0


def test_failure_and_its_cause_arrive(toy: Toy) -> None:
    """On the stage's run and on its pipeline's."""
    toy.stage("pretrain", "raise ZeroDivisionError('ours')")
    code, _ = toy.run("pretrain")
    assert code == 1
    wait_until(lambda: _runs(toy).get("pretrain") == "FAILED")
    client = MlflowClient(tracking_uri=f"sqlite:///{toy.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'pretrain'")
    parent = client.get_run(run.data.tags[PARENT])
    assert run.data.tags["error"] == parent.data.tags["error.pretrain"] == "pretrain: ours"
    wait_until(lambda: bool(client.get_run(run.info.run_id).data.tags.get("prefect.flow_run_id")))


def test_a_server_that_does_not_start_is_a_warning(toy: Toy) -> None:
    """The stage's results do not need it."""
    toy.stage("pretrain", LOGS.format("pretrain", "pass"))
    (toy.root / "prefect.py").write_text("raise SystemExit('no Prefect here')")  # the server's process finds this first
    code, said = toy.run("pretrain", PREFECT_API_URL="", PYTHONPATH=f"{toy.root}:{toy.environment['PYTHONPATH']}")
    assert code == 0 and "Traceback" not in said, said
    assert (toy.root / "models" / "pretrain.txt").exists()


def test_a_sender_ends_when_its_folder_is_gone(toy: Toy) -> None:
    """As after `dvc exp run --temp`; and nothing makes the folder again."""
    toy.stage("pretrain", LOGS.format("pretrain", "pass"))
    code, said = toy.run("pretrain")
    assert code == 0, said
    process = next(iter(_senders(toy.root)), None)
    shutil.rmtree(toy.root)
    if process is not None:
        wait_until(lambda: not alive(process), seconds=30)
    time.sleep(0.3)
    assert not toy.root.exists()


def test_a_box_of_a_killed_process_is_closed(tmp_path: Path) -> None:
    """Whoever filled it cannot."""
    run = StageRun(tmp_path / sender.FOLDER / "1-dual-1", {"process": "boot/4194305/1", "host": _host()})
    assert sender._dead(run.box)
    other = StageRun(tmp_path / sender.FOLDER / "2-dual-1", {"process": "boot/4194305/1", "host": "elsewhere"})
    assert not sender._dead(other.box), "of other hosts nothing is known"
    assert [box.folder.name for box in sender.boxes(tmp_path)] == ["1-dual-1", "2-dual-1"]
    assert not sender.busy(tmp_path)
    assert json.dumps(run.box.opening())


def _host() -> str:
    import platform

    return platform.node()


def _senders(root: Path) -> list[str]:
    import psutil

    from pipelines.support.processes import identity

    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if "pipelines.support.sender" in command and process.info["cwd"] == str(root):
            found.append(identity(process.pid))
    return found


@pytest.mark.parametrize("where", ["start", "wait"])
def test_a_folder_that_refuses_telemetry_costs_the_stage_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Whether the system refuses at the start of the stage or at its end: what is done is done."""
    from pipelines.support import telemetry
    from pipelines.support.place import Place
    from srfoundry.config import params

    def refuses(*_: object, **__: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system", "sender.lock")

    shutil.copy(SHIPPED, tmp_path)
    monkeypatch.setattr(sender, "busy", refuses)
    monkeypatch.setattr(telemetry.subprocess, "run", refuses)  # no process for git either
    monkeypatch.setattr(sender, "start" if where == "wait" else "wait", lambda *_: None)
    with telemetry.tracked("dual", Place.of(tmp_path), params.load(SHIPPED), key="k", digests={}):
        pass
    said = capsys.readouterr().err
    assert said.count("telemetry waits in") == 1 and ("Read-only file system" in said or "cannot be written" in said)
