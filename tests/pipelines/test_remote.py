"""A run with DVC's remote: new photographs arrive, results go there, and a remote that is away costs a line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.support import remote
from tests.conftest import Toy

FLOW = """
import json, sys
from pathlib import Path
from pipelines.support import server

server.prepare_environment(Path.cwd())
server.ensure_prefect(Path.cwd())
from pipelines.support.factory import build
from pipelines.support.program import answering

with answering():
    build(Path.cwd())(**json.loads(sys.argv[1]))
"""
LISTS = """
from pathlib import Path
names = sorted(path.name for path in Path("inputs/photographs").iterdir())
stage.output("models/pretrain.txt").write_text(" ".join(names))
stage.metrics({"n": 1})
"""


def flow(toy: Toy, **parameters: Any) -> tuple[int, str]:
    """Run the flow with these parameters in a toy."""
    (toy.root / "go.py").write_text(FLOW)
    return toy.run("go", json.dumps(parameters))


def dvc(toy: Toy, *words: str) -> str:
    """Run DVC in a toy."""
    code, said = toy.run("dvc", *words)
    assert code == 0, said
    return said


def photograph(toy: Toy, name: str) -> None:
    path = toy.root / "inputs/photographs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)


def test_photographs_that_the_team_adds_reach_a_worker(toy: Toy, tmp_path: Path, environment: dict[str, str]) -> None:
    """`dvc add`, push; the worker's checkout gets the .dvc file alone, as by `git pull`, at first and again later."""
    toy.stage("pretrain", LISTS)
    worker = Toy(tmp_path / "worker", environment)
    worker.stage("pretrain", LISTS)
    shutil.copy(toy.root / "mlflow.db", worker.root)
    for each in (toy, worker):
        dvc(each, "remote", "add", "--default", "store", str(tmp_path / "store"))
    for name, seen in (("a.png", "a.png"), ("b.png", "a.png b.png")):
        photograph(toy, name)
        dvc(toy, "add", "inputs/photographs")
        dvc(toy, "push")
        (worker.root / "inputs").mkdir(exist_ok=True)
        shutil.copy(toy.root / "inputs/photographs.dvc", worker.root / "inputs")
        with (worker.root / "pretrain.py").open("a") as file:
            file.write(f"# {name}\n")  # stale
        code, said = flow(worker, remote=True)
        assert code == 0, said
        assert (worker.root / "models/pretrain.txt").read_text() == seen
    assert any((tmp_path / "store").rglob("runs/*")), "results go there, too"
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("no folder")
    code, said = flow(worker, remote=True)
    assert code == 1 and "all stages are up to date, but dvc push failed: DVC's remote (store " in said
    photograph(toy, "c.png")
    dvc(toy, "add", "inputs/photographs")
    shutil.copy(toy.root / "inputs/photographs.dvc", worker.root / "inputs")
    code, said = flow(worker, remote=True)
    assert code == 1 and "error: what inputs/photographs.dvc names is not here, and dvc pull failed: " in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "DVC has no remote, the results are here alone"),
        ("gs://user:secret@nowhere/x", "DVC's remote (store gs://nowhere/x) needs a package: pip install dvc-gs; "),
    ],
)
def test_a_remote_that_gives_nothing_is_done_without(toy: Toy, address: str, said: str) -> None:
    """Every stage runs; only what was to go there is missed."""
    toy.stage("pretrain", "stage.output('models/pretrain.txt').write_text('p')\nstage.metrics({'n': 1})")
    toy.stage("metatrain", "stage.output('models/metatrain.txt').write_text('m')\nstage.metrics({'n': 1})")
    if address:
        dvc(toy, "remote", "add", "--default", "store", address)
    code, text = flow(toy, remote=True, jobs=1)
    assert (toy.root / "models/metatrain.txt").exists() and said in text and "secret" not in text, text
    assert text.count("this run goes on without it") == bool(address), text
    assert code == bool(address) and "Traceback" not in text


def test_a_missing_package_is_named_by_its_extra(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", toy.environment["PYTHONPATH"])  # a project's own folder has `pipelines`
    dvc(toy, "remote", "add", "--default", "store", "s3://bucket/x")
    said = [
        "ERROR: unexpected error - s3 is supported, but requires 'dvc-s3' to be installed: No module named 'dvc_s3'"
    ]
    assert remote.blamed(said)
    wanted = "DVC's remote (store s3://bucket/x) needs a package: pip install 'srfoundry[s3]'"
    assert remote.reason(toy.root, said) == wanted
    assert not remote.blamed(["ERROR: failed to reproduce 'a': failed to run: python -m a, exited with 1"])


def test_models_are_registered_but_those_of_a_trial(toy: Toy) -> None:
    """A registry that does not take them fails the run once all else is done; a run with its own values asks none."""
    body = "import os\nstage.output('models/export.txt').write_text(os.environ.get('SRFOUNDRY_REGISTRATION', ''))\n"
    toy.stage("export", body + "stage.metrics({'n': 1})")
    code, said = flow(toy, values={"export.least_gain": 0.5})
    assert code == 0 and (toy.root / "models/export.txt").read_text() == "false", said
    code, said = flow(toy)
    assert code == 1 and (toy.root / "models/export.txt").read_text() == "", said
    assert "all stages are up to date, but models are not registered: exports holds no member" in said
    code, said = flow(toy, registration=False)
    assert code == 0, said
