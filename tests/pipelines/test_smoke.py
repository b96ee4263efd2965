"""The whole factory, from photographs to a registered model, on tiny values: the same code path.

It runs as if nothing but what `make repro` installs were there: extras of other commands cannot be imported.
The first run is made with the worked examples of docs/extending.md, by a team's programs where they are installed:
PostgreSQL, MLflow's server, Prefect's with a worker, DVC's remote behind SSH. The second is `dvc repro` with what the
repository comes with. Then the tutorial is followed, and the README's commands are run.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchmarks import survival
from benchmarks._remote_graph import RemoteGraph, here
from benchmarks._remote_programs import Programs, missing
from benchmarks._survival_journal import Order, read
from benchmarks._survival_project import Finished
from pipelines.support.graph import Graph, folder_of, section_of
from srfoundry.degradation.kernel_families import FAMILIES
from srfoundry.networks.zoo.family import judged_on
from tests import tiny_graph, tutorial
from tests.conftest import REPO, wait_until
from tests.extras import distributions, lacking
from tests.inputs import closure, is_imported, is_input, unlisted
from tests.shipped import SHIPPED
from tests.tiny_graph import EXAMPLES, STAGES

pytestmark = pytest.mark.timeout(900)  # twenty processes one after another, on machines that do other work, too


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """The copy of the repository that the tests below work in."""
    return tiny_graph.make(tmp_path_factory.mktemp("factory"), empty_store)


class Notified:
    """A web server of this machine that keeps what is posted to it."""

    def __init__(self) -> None:
        kept = self.kept = list[str]()

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                kept.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def notified() -> Iterator[Notified]:
    """Somebody who is notified."""
    made = Notified()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def team(factory: Path, notified: Notified) -> Iterator[RemoteGraph | None]:
    """The project on a team's programs, deployed and run once; None where they are not installed."""
    if missing():
        yield None
        return
    paths = os.pathsep.join([str(REPO / "src"), str(REPO)])
    with Programs(here() | {"PYTHONPATH": paths}) as programs:
        graph = RemoteGraph(programs, factory, here() | _observed(factory, "ssh"))
        graph.publish(notified.url)
        assert graph.work() == "COMPLETED", programs.said()[-8000:]
        yield graph


def _observed(root: Path, *more: str) -> dict[str, str]:
    """What lets processes note what they load, and find no packages but those of these extras."""
    (root / "loaded").mkdir(exist_ok=True)
    names = distributions("pipeline", "cpu", "gpu", *more)
    (root / "lacking.json").write_text(json.dumps(lacking(names)))
    return {
        "PYTHONPATH": str(REPO / "tests/pipelines/loaded"),
        "SRFOUNDRY_LOADED": str(root / "loaded"),
        "SRFOUNDRY_LACKING": str(root / "lacking.json"),
    }


def repro(root: Path, environment: dict[str, str]) -> str:
    """Run `dvc repro` and return what it said."""
    paths = os.pathsep.join([str(root / "src"), str(root), str(REPO / "tests/pipelines/loaded")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=root,
        env=environment | _observed(root) | {"PYTHONPATH": paths},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def figures(root: Path, stage: str) -> dict[str, Any]:
    return json.loads((root / "results" / folder_of(stage) / "metrics.json").read_text())


def test_from_photographs_to_a_registered_model(
    factory: Path, environment: dict[str, str], team: RemoteGraph | None
) -> None:
    if team is None:
        said, store = repro(factory, environment), f"sqlite:///{factory / 'mlflow.db'}"
    else:
        said, store = (team.programs.folder / "worker.log").read_text(), team.programs.mlflow
        assert tiny_graph.arrived(store, seconds=120.0)
    assert set(figures(factory, "sharpness")) == {"set__coffee", "set__again__coffee"}
    assert [stage for stage in STAGES if f"Running stage '{stage}'" not in said] == []
    assert all(figures(factory, stage) for stage in STAGES)
    data = figures(factory, "synthesize")
    both = ["set__again__coffee", "set__coffee"]
    assert data["photographs"]["held_out"] == both, "a copy of a test photograph went elsewhere"
    assert list(data["skipped"]) == ["set/torn.jpg"] and data["one_scene"] == [both]
    rows = json.loads((factory / "data" / "synthesize" / "kernels" / "bank.json").read_text())
    assert [row["family"] for row in rows[:-1:2]] == list(dict.fromkeys([*FAMILIES, "ring"])), "two of each"
    assert rows[-1]["file"] == "mine.npy mine"
    scores = figures(factory, "evaluate")
    for method in ("mzsr0_true", "mzsr1_true", "mzsr10_true", "mzsr10_estimated", "mzsr10_bicubic", "finetune10_true"):
        assert {"psnr_y", "ssim_y", "gain_db"} <= set(scores["gauss20"][method])
    assert scores["bicubic"]["bicubic"]["gain_db"] == 0.0
    assert figures(factory, "prune")["removed_fraction"] >= 0.3
    assert figures(factory, "compress@50")["removed_fraction"] >= 0.5
    assert figures(factory, "compress@70")["removed_fraction"] >= 0.7
    assert {"pruned", "pruned50", "pruned70"} <= set(scores["bicubic"])
    assert figures(factory, "photo_compress@50")["removed_fraction"] >= 0.5
    for test in ("div2krk", "photographs"):
        assert {"bicubic", "pruned", "photo", "photo50"} <= set(scores[test]), "blind sets, for the family alone"
        assert list((factory / "results" / "evaluate" / "pictures").glob(f"{test}_*.png"))
    assert figures(factory, "export")["parity_max_abs"] <= 1e-4
    card = json.loads((factory / "exports" / "photo50.json").read_text())
    assert card["trained_for"]["degradation"] == "photographs" and card["trained_for"]["dual_map"] == "operator"
    assert card["metrics"]["held_out.set"] == "photographs"
    assert card["metrics"]["held_out.photographs"] == scores["photographs"]["photo50"]
    assert json.loads((factory / "exports" / "pruned.json").read_text())["trained_for"] is None
    assert "gain_over_prior_mean_db" in figures(factory, "estimate")
    assert (factory / "exports" / "pruned.onnx").stat().st_size > 1000
    assert list((factory / "results" / "evaluate" / "pictures").glob("gauss20_*.png"))
    assert set(scores["real"]) == {"bicubic", "pruned", "photo50"}
    assert (factory / "results" / "evaluate" / "pictures" / "real.jpg").is_file()

    from mlflow import MlflowClient

    client = MlflowClient(store, store)
    aliases = {alias: int(version) for alias, version in client.get_registered_model("srfoundry").aliases.items()}
    aliases = {alias: version for alias, version in aliases.items() if "int8" not in alias}  # these depend on the clock
    held = {"champion": "pruned", "p50": "pruned50", "p70": "pruned70", "photo": "photo", "photo50": "photo50"}
    held["fp16"] = "pruned"
    lost = {alias: f"{alias}_challenger" for alias in held} | {"champion": "challenger"}  # where it is below bicubic
    above = {alias: scores[judged_on(name)][name]["gain_db"] > 0 for alias, name in held.items()}
    assert aliases == {alias if above[alias] else lost[alias]: number for number, alias in enumerate(held, start=1)}
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 1
    assert {run.data.tags["mlflow.runName"] for run in children} == {*STAGES, "sharpness"}

    if team is None:
        again = repro(factory, environment)
        assert [line for line in again.splitlines() if "Running stage" in line] == ["Running stage 'environment':"]


def test_a_team_finds_all_of_it_elsewhere(factory: Path, team: RemoteGraph | None, tmp_path: Path) -> None:
    """A fresh clone, `dvc pull`: nothing runs. Passwords stand in no file of the project, no tag and no log."""
    if team is None:
        pytest.skip(f"no servers of a team here: {missing()}")
    programs = team.programs
    team.commit("results")
    assert team.clone(tmp_path / "clone") == []
    for name in ("pruned", "photo50"):
        assert (tmp_path / "clone/exports" / f"{name}.onnx").read_bytes() == (
            factory / "exports" / f"{name}.onnx"
        ).read_bytes()
    secret = programs.password.encode()
    assert not [path for path in factory.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert programs.password not in programs.said()
    schedules = {each["name"]: each["schedules"] for each in team.prefect("deployments/filter", {})}
    assert schedules["factory"] == [] and schedules["night"][0]["schedule"]["cron"] == "0 3 * * *"


def test_a_night_that_fails_is_notified(team: RemoteGraph | None, notified: Notified) -> None:
    """By the automation that `make deploy` makes; a run for somebody who waits for it is none."""
    if team is None:
        pytest.skip(f"no servers of a team here: {missing()}")
    assert team.ask("night", stages=["nonesuch"]) == "FAILED"
    wait_until(lambda: bool(notified.kept))
    [text] = notified.kept
    assert text.startswith("srfoundry: the night Failed\n") and "no stage nonesuch in dvc.yaml" in text


def _loads_what_it_lists(factory: Path) -> None:
    """What Python really loaded, networks by name included, lies in dvc.yaml's inputs, and each input was needed."""
    graph, read = Graph(factory), _read_with_params(factory)
    for stage in STAGES:
        notes = (factory / "loaded").glob(f"{stage}-*.json")
        loaded = {Path(file) for note in notes for file in json.loads(note.read_text())}
        names = {file.relative_to(factory).as_posix() for file in loaded if factory in file.parents}
        listed = [path for path in graph.inputs(stage) if is_input(path)]
        missing = unlisted(names - read, listed, factory)
        assert not missing, f"{stage} loads what dvc.yaml does not list: {missing}"
        names |= closure(REPO / "pipelines" / f"{section_of(stage)}.py")  # other values of params.yaml load more
        idle = [
            path
            for path in filter(is_imported, listed)
            if not any(name == path or name.startswith(f"{path}/") for name in names)
        ]
        assert not idle, f"{stage}: remove {idle} from dvc.yaml"


def _read_with_params(factory: Path) -> set[str]:
    """The files that are loaded with params.yaml, by every stage: settings, and tables of names."""
    ask = "import sys, srfoundry.config.params; print(*(getattr(m, '__file__', '') for m in [*sys.modules.values()]))"
    environment = os.environ | {"PYTHONPATH": str(factory / "src")}
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    found = [Path(file) for file in done.stdout.split()]
    return {file.relative_to(factory).as_posix() for file in found if factory in file.parents}


def test_changed_values_rerun_their_stage_and_its_descendants_only(factory: Path, environment: dict[str, str]) -> None:
    repro(factory, environment)  # nothing, unless another of pytest's workers took the tests before this one
    values = YAML(typ="safe").load((factory / "params.yaml").read_text())
    shipped = YAML(typ="safe").load(SHIPPED.read_text())
    for section, key in EXAMPLES:
        values[section][key] = shipped[section][key]
    with (factory / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    said = repro(factory, environment)
    ran = [stage for stage in STAGES if f"Running stage '{stage}'" in said]
    photo = ["photo", "photo_compress@50"]  # as dual and compress say, but for their own values
    assert ran == ["dual", "search", "prune", "compress@50", "compress@70", *photo, "estimate", "evaluate", "export"]
    _loads_what_it_lists(factory)


def test_kills_and_faults_cost_nothing(factory: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """The short form of `python -m benchmarks.survival`: a loop over batches, one over tasks, one over images."""
    repro(factory, environment)  # nothing, unless another worker took the tests before, as above
    project, journal = Finished(factory), tmp_path / "journal.jsonl"
    project.note()
    stages, only = ["pretrain", "metatrain", "estimate"], ["full_disk"]
    order = Order(kills=3, faults=1, stages=stages, only=only, seed=1, minutes=5.0, journal=str(journal))
    order.write(tmp_path / "order.json")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._survival_trials", str(tmp_path / "order.json")],
        cwd=factory,
        env=project.environment(factory),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = read(journal)
    found = survival.figures(rows)
    assert found["kills"] >= 3 and found["kills_different_bytes"] == 0, rows
    assert found["faults"] == 3 and found["faults_lost"] == found["faults_tracebacks"] == 0, rows


def test_the_tutorial_and_the_readme_do_what_they_say(
    factory: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """On what the tests before have made: the same commands, small photographs, few steps."""
    from srfoundry.imaging import images

    tutorial.environment_in(factory)
    shown = {path.stem: images.read(path)[..., 100:196, 150:278] for path in images.bundled()}
    for name, image in list(shown.items())[:6]:
        images.write(image, tmp_path / "Pictures" / "album" / f"{name}.jpg")
    for name in ("photo.jpg", "mine.png"):
        images.write(shown["coffee"], factory / name)
    images.write(shown["rocket"][..., :48, :64], factory / "old.png")
    paths = [str(factory / "src"), str(factory)]
    programs = f"{factory / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    reader = environment | {"PYTHONPATH": os.pathsep.join(paths), "PATH": programs, "HOME": str(tmp_path)}
    done = tutorial.follow("docs/tutorial.md", factory, reader)
    assert done[:2] == ["make setup", "make repro"] and done[-1] == "dvc repro synthesize"
    for name in ("photo_x2.png", "before_after.png", "photo_large.png", "results/report.html"):
        assert (factory / name).is_file(), name
    assert figures(factory, "synthesize")["photographs"]["held_out"]

    (factory / "photo_x2.png").unlink()
    (factory / "before_after.png").unlink()
    used = tutorial.commands("README.md", "## Use it")
    assert used.splitlines()[-1].startswith("srfoundry serve")
    tutorial.run(["bash", "-euc", used.partition("srfoundry serve")[0]], factory, reader)
    assert (factory / "old_restored.png").is_file() and (factory / "before_after.png").is_file()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = ["srfoundry", "serve", "--port", str(port)]
    assert b"<html" in tutorial.answers(served, factory, reader, f"http://127.0.0.1:{port}/")
