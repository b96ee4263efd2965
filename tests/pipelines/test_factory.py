"""The whole graph as one flow: DVC decides what runs, Prefect shows it, and a failure stops with one line."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from pipelines.support.dvc_runs import lines, verdict
from pipelines.support.processes import alive, identity
from tests.conftest import Toy, wait_until
from tests.outages import Line

WRITE = "stage.output('models/{0}.txt').write_text('{1}')\nstage.metrics({{'n': 1}})"

FACTORY = {"deployments": {"name": {"any_": ["factory"]}}}


def test_runs_what_is_stale_in_order(toy: Toy) -> None:
    """First all, then nothing; lost outs come out of DVC's cache; a failing stage stops the rest."""
    toy.stage("metatrain", WRITE.format("metatrain", "m"), deps=["models/pretrain.txt"])  # listed before its input
    toy.stage("pretrain", WRITE.format("pretrain", "p"))
    assert _factory(toy) == {"pretrain": "ran", "metatrain": "ran"}
    assert _factory(toy) == {"pretrain": "unchanged", "metatrain": "unchanged"}
    (toy.root / "dvc.lock").unlink()
    shutil.rmtree(toy.root / "models")
    assert _factory(toy) == {"pretrain": "restored", "metatrain": "restored"}
    broken = (
        (toy.root / "pretrain.py").read_text().replace("stage.metrics", "stage.input('gone.txt')\n    stage.metrics")
    )
    (toy.root / "pretrain.py").write_text(broken)
    code, said = toy.run("pipelines.support.factory", "run")
    assert code == 1
    assert said.strip().splitlines()[-1].startswith("error: stage pretrain failed: ")
    assert "metatrain" not in said and "Traceback" not in said


def test_bad_params_stop_the_factory_first(toy: Toy) -> None:
    """Before DVC, before Prefect."""
    text = (toy.root / "params.yaml").read_text()
    (toy.root / "params.yaml").write_text(text.replace("threads:", "treads:", 1))
    code, said = toy.run("pipelines.support.factory", "run", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert code == 1
    assert said.startswith("error: ") and "shared.treads" in said and len(said.splitlines()) == 1


def test_deployment_runs_from_the_user_interface(toy: Toy) -> None:
    """`serve` makes a deployment with a schedule; a run that is asked for over the API completes."""
    toy.stage("pretrain", WRITE.format("pretrain", "p"))
    process = toy.start("pipelines.support.factory", "serve", "--cron", "0 3 * * *")
    try:
        wait_until(lambda: bool(toy.prefect("deployments/filter", FACTORY)))
        [deployment] = toy.prefect("deployments/filter", FACTORY)
        assert [entry["schedule"]["cron"] for entry in deployment["schedules"]] == ["0 3 * * *"]
        run = toy.prefect(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})

        def ended() -> bool:
            [found] = toy.prefect("flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
            return found["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

        wait_until(ended, seconds=120)
        [found] = toy.prefect("flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        assert found["state_type"] == "COMPLETED"
        assert (toy.root / "models" / "pretrain.txt").exists()
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def test_serve_outlives_prefects_server(toy: Toy) -> None:
    """Away during a run and after it: the run goes on, its end is marked later, the next run starts; no traceback."""
    gate = (
        "import time\nfrom pathlib import Path\nPath('at').touch()\nwhile not Path('go').exists(): time.sleep(0.05)\n"
    )
    toy.stage("pretrain", gate + WRITE.format("pretrain", "p"))
    with Line("through", toy.environment["PREFECT_API_URL"].removesuffix("/api")) as line:
        patience = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_CLIENT_MAX_RETRIES": "0"}
        process = toy.start("pipelines.support.factory", "serve", PREFECT_API_URL=f"{line.url}/api", **patience)
        try:
            wait_until(lambda: bool(toy.prefect("deployments/filter", FACTORY)), process=process)
            [deployment] = toy.prefect("deployments/filter", FACTORY)

            def asked() -> str:
                url = f"deployments/{deployment['id']}/create_flow_run"
                return toy.prefect(url, {"state": {"type": "SCHEDULED"}, "parameters": {"jobs": 1}})["id"]

            def state(run: str) -> str:
                return toy.prefect("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]["state_type"]

            first = asked()
            wait_until((toy.root / "at").exists, process=process)
            line.cut("broken")
            (toy.root / "go").touch()
            wait_until((toy.root / "results/pretrain/metrics.json").exists, process=process)
            time.sleep(8)  # three polls that fail ended Prefect's own
            assert process.poll() is None and state(first) == "RUNNING"
            line.cut("through")
            wait_until(lambda: state(first) == "CRASHED", process=process)
            second = asked()
            wait_until(lambda: state(second) == "COMPLETED", process=process)
            line.cut("broken")
        finally:
            os.kill(process.pid, signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in said and "never awaited" not in said, said
    assert "what runs goes on" in said and "Prefect answers again" in said and "the schedule stays active" in said, said
    assert "Error logging" not in said, said


def test_lines_come_as_they_are_said_and_bars_do_not_flood(tmp_path: Path) -> None:
    """A bar's states are thinned; breaking off ends the process."""
    talk = "import sys, time\nprint('one', flush=True)\n"
    talk += "for i in range(500): sys.stdout.write(f'{i}%|\\r')\nprint('two', flush=True)\nraise SystemExit(3)"
    said = list(lines([sys.executable, "-c", talk], tmp_path, dict(os.environ)))
    assert said[0] == ("one", None) and said[-2:] == [("two", None), ("", 3)]
    assert len(said) < 6
    sleeper = lines(
        [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"], tmp_path, {}
    )
    who = identity(int(next(sleeper)[0]))
    began = time.monotonic()
    sleeper.close()
    assert not alive(who) and time.monotonic() - began < 10


def test_verdict_reads_what_dvc_says() -> None:
    """The words of the pinned DVC."""
    assert verdict(["Running stage 'dual':", "> python -m pipelines.dual"]) == "ran"
    assert verdict(["Stage 'dual' is cached - skipping run, checking out outputs"]) == "restored"
    assert verdict(["Stage 'dual' didn't change, skipping"]) == "unchanged"


def _factory(toy: Toy) -> dict[str, str]:
    code, said = toy.run("pipelines.support.factory", "run")
    assert code == 0, said
    table = [line.split() for line in said.splitlines() if line.startswith(("pretrain  ", "metatrain  "))]
    return {stage: what for stage, what in table}
