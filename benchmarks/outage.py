"""What an MLflow server that stops answering costs a training: the same loop with the server running, and stopped.

    python -m benchmarks.outage              a minute of silence; --seconds 300 is the figure of the lab book

The server is stopped by SIGSTOP, the worst case: it takes connections and never answers.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import table

REPO = Path(__file__).resolve().parent.parent
STEP = 0.05  # seconds of a step, each of which is logged
LEAD = 5.0  # seconds of training before and after the silence
STAGE = """
import time
from pathlib import Path

from pipelines.support.stage import Stage, main


def pretrain(stage: Stage) -> None:
    steps = int(Path("steps").read_text())
    for step in range(steps):
        time.sleep({step})
        stage.log(step, {{"loss": 1.0 / (step + 1)}})
        if step == int({lead} / {step}):
            Path("training").touch()
    stage.metrics({{"n": 1}})


if __name__ == "__main__":
    main(pretrain)
"""


def outage_seconds(seconds: float = 300.0) -> float:
    """Time that a training loses while MLflow is silent for so long: the whole stage's, with and without the silence.

    Args:
        seconds: of silence, in the middle of the training.
    """
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as (url, group):
        root = Path(folder) / "project"
        root.mkdir()
        shutil.copy(REPO / "params.yaml", root)
        (root / "dvc.yaml").write_text("stages: {}\n")
        (root / "pretrain.py").write_text(STAGE.format(step=STEP, lead=LEAD))
        (root / "steps").write_text(str(int((seconds + 2 * LEAD) / STEP)))
        plain = _train(root, url, group, 0.0)
        return _train(root, url, group, seconds) - plain


def _train(root: Path, url: str, group: int, silence: float) -> float:
    """Seconds that the stage takes, start and end included."""
    (root / "training").unlink(missing_ok=True)
    paths = os.pathsep.join([str(REPO / "src"), str(REPO)])
    environment = os.environ | {"PYTHONPATH": paths, "MLFLOW_TRACKING_URI": url}
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"  # nobody is there
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pretrain"], cwd=root, env=environment)
    while silence and not (root / "training").exists():
        time.sleep(0.02)
    if silence:
        os.killpg(group, signal.SIGSTOP)
    stopped = time.perf_counter()
    try:
        while process.poll() is None:
            if silence and time.perf_counter() - stopped > silence:
                os.killpg(group, signal.SIGCONT)
                silence = 0.0
            time.sleep(0.02)
    finally:
        os.killpg(group, signal.SIGCONT)
    if process.returncode:
        raise SystemExit(f"the training ended with {process.returncode}")
    return time.perf_counter() - began


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, int]]:
    """Address and process group of an MLflow server with a store of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = ["mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, f"sqlite:///{folder / 'mlflow.db'}"],
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while True:
                if process.poll() is not None:
                    raise SystemExit(f"the MLflow server did not start:\n{(folder / 'server.log').read_text()[-2000:]}")
                try:
                    with urllib.request.urlopen(f"{url}/health", timeout=2):
                        break
                except OSError:
                    time.sleep(0.2)
            yield url, process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of silence (default: %(default)g)")
    seconds = parser.parse_args().seconds
    lost = outage_seconds(seconds)
    rows = [{"silence, s": seconds, "time lost, s": round(lost, 2)}]
    table.report("outage", rows, threads=1, outage_seconds=round(lost, 2), silence_seconds=seconds)


if __name__ == "__main__":
    main()
