"""The Stage contract: files and numbers that a stage leaves, and the one line that a person gets for a mistake."""

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from pipelines.support import server, watched
from pipelines.support.graph import Graph
from pipelines.support.locks import locked
from pipelines.support.processes import alive, identity
from pipelines.support.stage import Stage
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from srfoundry.tracking import stores
from tests.conftest import REPO, Toy, wait_until
from tests.shipped import SHIPPED


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage in an empty folder, that tells nobody."""
    return Stage("pretrain", tmp_path, params.load(SHIPPED))


def test_metrics_are_sorted_rounded_and_finite(stage: Stage) -> None:
    """The same numbers give the same bytes; NaN is refused."""
    stage.metrics({"b": 1 / 3, "a": {"n": 2, "s": "x"}, "list": [0.1234567891]})
    text = (stage.results / "metrics.json").read_text()
    assert json.loads(text) == {"a": {"n": 2, "s": "x"}, "b": 0.333333, "list": [0.123457]}
    assert text.index('"a"') < text.index('"b"')
    with pytest.raises(FoundryError, match=r"pretrain\.a\.b is nan"):
        stage.metrics({"a": {"b": math.nan}})


def test_curves_are_the_same_bytes_twice(stage: Stage) -> None:
    """Curves are outs: no date, no path in them; a value may be missing in a row."""
    history = [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.25, "psnr": 30.0}]
    stage.curve(history)
    first = {path.name: path.read_bytes() for path in stage.results.iterdir()}
    stage.curve(history)
    assert first == {path.name: path.read_bytes() for path in stage.results.iterdir()}
    assert first["curves.csv"].decode().splitlines() == ["step,loss,psnr", "1,0.5,", "2,0.25,30"]


def test_missing_input_names_the_stage_that_writes_it(stage: Stage) -> None:
    """What, got, do."""
    (stage.root / "dvc.yaml").write_text((REPO / "dvc.yaml").read_text())
    fresh = Stage("metatrain", stage.root, stage.params)
    with pytest.raises(FoundryError, match="models/pretrain.safetensors not found.*dvc repro pretrain"):
        fresh.input("models/pretrain.safetensors")
    with pytest.raises(FoundryError, match="dvc repro synthesize"):
        fresh.input("data/synthesize/train")


def test_key_follows_params_code_and_inputs(toy: Toy) -> None:
    """A checkpoint belongs to one experiment: another value, code file or input is another one."""
    toy.stage("pretrain", "pass", deps=["input.txt"])
    given = params.load(toy.root / "params.yaml")
    (toy.root / "input.txt").write_text("one")

    def key(values: params.Params = given) -> str:
        return Stage("pretrain", toy.root, values).key

    first = key()
    assert key() == first
    (toy.root / "input.txt").write_text("two")
    assert key() != first
    (toy.root / "input.txt").write_text("one")
    shared = given.shared.model_copy(update={"seed": given.shared.seed + 1})
    assert key(given.model_copy(update={"shared": shared})) != first
    source = replace(given.synthesize.photographs, smallest=given.synthesize.photographs.smallest + 1)
    synthesize = given.synthesize.model_copy(update={"photographs": source})
    assert key(given.model_copy(update={"synthesize": synthesize})) == first
    (toy.root / "pretrain.py").write_text("# changed\n")
    assert key() != first


def test_key_trusts_the_lock_for_what_stages_wrote(toy: Toy) -> None:
    """Outs of ancestors need no hashing again."""
    toy.stage("pretrain", "pass")
    toy.stage("metatrain", "pass", deps=["models/pretrain.txt"])
    lock = (
        "schema: '2.0'\nstages:\n  pretrain:\n    cmd: x\n    outs:\n    - path: models/pretrain.txt\n      md5: abc\n"
    )
    (toy.root / "dvc.lock").write_text(lock)
    assert Graph(toy.root).digests("metatrain")["models/pretrain.txt"] == "abc"


def test_missing_gpu_is_an_error_not_a_fallback(stage: Stage) -> None:
    """`cuda` means cuda."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU whose absence is tested")
    shared = stage.params.shared.model_copy(update={"device": "cuda"})
    wanted = Stage("pretrain", stage.root, stage.params.model_copy(update={"shared": shared}))
    with pytest.raises(FoundryError, match="shared.device is cuda"):
        _ = wanted.device
    shared = stage.params.shared.model_copy(update={"device": "auto"})
    assert Stage("pretrain", stage.root, stage.params.model_copy(update={"shared": shared})).device.type == "cpu"


def test_order_and_ancestors_of_the_factory() -> None:
    """The graph read from dvc.yaml runs inputs before their readers."""
    graph = Graph(REPO)
    order = graph.order()
    assert all(order.index(parent) < order.index(name) for name in order for parent in graph.parents(name))
    assert graph.ancestors("metatrain") == ["environment", "synthesize", "pretrain"]
    assert set(graph.ancestors("export")) >= {"synthesize", "dual", "search", "prune", "evaluate"}


def test_mistakes_are_one_line_and_code_one(toy: Toy) -> None:
    """FoundryError has no traceback, other errors keep theirs; bad params stop before anything starts."""
    toy.stage(
        "pretrain", "from srfoundry.core.errors import FoundryError\nraise FoundryError('low is 3, need 8; enlarge it')"
    )
    toy.stage("metatrain", "raise ZeroDivisionError('ours')")
    process = toy.start("pretrain")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    wait_until(lambda: toy.prefect_states(process.pid) == ["FAILED"])
    assert [line for line in said.splitlines() if "error" in line.lower()] == ["error: low is 3, need 8; enlarge it"]
    assert "Traceback" not in said
    code, said = toy.run("metatrain")
    assert code == 1 and "Traceback" in said and "ZeroDivisionError: ours" in said
    text = (toy.root / "params.yaml").read_text()
    (toy.root / "params.yaml").write_text(text.replace("seed:", "sead:", 1))
    code, said = toy.run("pretrain")
    assert code == 1
    assert said.strip().startswith("error: ") and "shared.sead" in said and len(said.strip().splitlines()) == 1


def test_help_teaches(toy: Toy) -> None:
    """--help says what the stage reads, writes and where its values are, quickly and without a server."""
    toy.stage("pretrain", "pass")
    code, said = toy.run("pretrain", "--help", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert code == 0
    assert all(word in said for word in ["A toy.", "models/pretrain.txt", "dvc repro pretrain", "--params"])


def test_second_writer_is_told(toy: Toy) -> None:
    """One writer a stage: the second says why not and harms nothing."""
    toy.stage("pretrain", "pass")
    with locked(toy.root / ".ckpt" / "pretrain.lock"):
        code, said = toy.run("pretrain")
    assert code == 1
    assert said.strip() == f"error: stage pretrain is already running in {toy.root}; wait for it, or stop it first"


def test_identity_outlives_a_used_again_pid() -> None:
    """A process is its boot, its pid and its start together."""
    who = identity(os.getpid())
    assert alive(who)
    boot, pid, start = who.split("/")
    assert not alive(f"{boot}/{pid}/{int(start) + 1}")
    assert not alive("") and not identity(2**22 + 1)


def test_what_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of Prefect's files among it; without it, they are the project's."""
    for name in [*server.QUIET, "PREFECT_HOME", "MLFLOW_TRACKING_URI", "no_proxy", "NO_PROXY", *stores.PATIENCE]:
        monkeypatch.setenv(name, "mine")
    server.prepare_environment(tmp_path)
    assert os.environ["PREFECT_HOME"] == os.environ["MLFLOW_TRACKING_URI"] == "mine"
    monkeypatch.delenv("PREFECT_HOME")
    server.prepare_environment(tmp_path)
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")


SERVE = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), "
SERVE += "http.server.SimpleHTTPRequestHandler).serve_forever()"


def _watched(root: Path, port: int, idle: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines.support.watched", str(port), sys.executable, "-c", SERVE, str(port)]
    environment = os.environ | {"SRFOUNDRY_IDLE_MINUTES": idle, "PYTHONPATH": f"{REPO / 'src'}:{REPO}"}
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_idle_server_ends_by_itself(tmp_path: Path) -> None:
    """And what it has started with it."""
    port = _free_port()
    process = _watched(tmp_path, port, "0.01")
    wait_until(lambda: not server._free(port), process=process)
    process.wait(timeout=100)
    assert server._free(port)


def test_server_of_a_deleted_folder_ends(tmp_path: Path) -> None:
    """However long it may be idle; and the folder stays gone."""
    root, port = tmp_path / "project", _free_port()
    root.mkdir()
    process = _watched(root, port, "0")
    wait_until(lambda: not server._free(port), process=process)
    root.rmdir()
    process.wait(timeout=100)
    assert server._free(port) and not root.exists()


def test_use_keeps_a_server_alive() -> None:
    """A connection of a moment ago counts; so does a stage at work."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not watched.used(port)
        with socket.create_connection(("127.0.0.1", port)):
            assert watched.used(port)
        assert watched.used(port)


def test_local_servers_are_not_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the user's own is not asked for 127.0.0.1."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        there = server.Service("prefect", 4200, "/")
        assert there._answers(f"http://127.0.0.1:{listening.server_port}", 10.0, identity(os.getpid()))
        listening.shutdown()


def test_taken_port_is_not_used(tmp_path: Path) -> None:
    """The next free one is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not server._free(port)
    assert tmp_path.exists()


MATRIX = """
stages:
  dual:
    cmd: python -m pipelines.dual
    params: [shared, dual]
    outs: [models/dual.safetensors]
  compress:
    matrix:
      percent: [50, 70]
    cmd: python -m pipelines.compress --percent ${item.percent}
    params: [shared, compress, search]
    deps: [models/dual.safetensors]
    outs: ['models/compress_${item.percent}.safetensors']
    metrics:
      - results/compress/${item.percent}/metrics.json: {cache: false}
  export:
    cmd: python -m pipelines.export
    deps: [models/compress_50.safetensors]
    outs: [exports]
"""


def test_a_matrix_is_several_stages(tmp_path: Path) -> None:
    """As DVC has it: names with @, items filled in, keys of outs included."""
    (tmp_path / "dvc.yaml").write_text(MATRIX)
    graph = Graph(tmp_path)
    assert list(graph.stages) == ["dual", "compress@50", "compress@70", "export"]
    assert graph.outputs("compress@70") == ["models/compress_70.safetensors", "results/compress/70/metrics.json"]
    assert graph.stages["compress@50"]["cmd"] == "python -m pipelines.compress --percent 50"
    assert graph.sections("compress@50") == ["compress", "search"]
    assert graph.parents("export") == ["compress@50"] and graph.ancestors("export") == ["dual", "compress@50"]
    assert graph.matrix("compress") == {"percent": ["50", "70"]} and graph.matrix("dual") == {}


def test_a_stage_of_a_matrix_has_a_folder_and_states_of_its_own(tmp_path: Path) -> None:
    """Two members of a matrix may run one after the other without meeting."""
    (tmp_path / "dvc.yaml").write_text(MATRIX)
    stage = Stage("compress@50", tmp_path, params.load(SHIPPED))
    assert (stage.section, stage.item) == ("compress", "50")
    stage.metrics({"a": 1.0})
    stage.curve([{"step": 1.0, "loss": 0.5}])
    assert {path.name for path in (tmp_path / "results" / "compress" / "50").iterdir()} == {
        *["metrics.json", "curves.csv", "curves.png"]
    }
    assert stage.checkpoint.name == "compress@50.pt"
    with pytest.raises(FoundryError, match="models/dual.safetensors not found.*dvc repro dual"):
        stage.input("models/dual.safetensors")


def test_a_stage_of_a_matrix_runs_through_dvc(toy: Toy) -> None:
    """Each item by its option; the second repro runs nothing."""
    body = 'stage.output(f"models/compress_{stage.item}.txt").write_text(stage.name)\nstage.metrics({"x": 1.0})'
    toy.stage("compress", body)
    text = (toy.root / "dvc.yaml").read_text()
    text = text.replace(
        "    cmd: python -m compress",
        "    matrix: {percent: [50, 70]}\n    cmd: python -m compress --percent ${item.percent}",
    )
    text = text.replace("models/compress.txt", "models/compress_${item.percent}.txt")
    (toy.root / "dvc.yaml").write_text(text.replace("results/compress/", "results/compress/${item.percent}/"))
    code, said = toy.run("dvc", "repro")
    assert code == 0, said
    for item in ("50", "70"):
        assert (toy.root / "models" / f"compress_{item}.txt").read_text() == f"compress@{item}"
        assert (toy.root / "results" / "compress" / item / "metrics.json").exists()
    code, said = toy.run("compress")
    assert code == 2 and "--percent" in said
    code, said = toy.run("dvc", "repro")
    assert code == 0 and "Running stage" not in said
