"""What can go wrong around a stage, made to happen: each fault prepares a trial's folder, lets it run, and mends.

Root is needed for a small disk and for a folder that nothing can be written to; without it a limit on the size of files
and permissions take their place.
"""

import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks._survival_limits import ROOT, Trial, handles, memory, processes, small_files
from benchmarks._survival_runs import Disturbance, Ended, send
from pipelines.support import sender

TRIES = 5  # runs until one is met by a signal
Fault = Callable[[Trial], AbstractContextManager[Ended]]


@contextmanager
def full_disk(trial: Trial) -> Iterator[Ended]:
    """No room left after a random part of what the stage writes."""
    part = trial.rng.uniform(0.0, 1.0)
    if not ROOT:
        trial.copy()
        most = int(part * 65_536)
        yield trial.run(Disturbance(hook=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))))
        return
    with _disk(trial.root):
        trial.copy()
        used = shutil.disk_usage(trial.root).used
        _mount("remount", f"size={used + int(part * trial.needs())}", trial.root)
        ended = trial.run(Disturbance())
        _mount("remount", "size=1g", trial.root)
        yield ended


@contextmanager
def read_only(trial: Trial) -> Iterator[Ended]:
    """A folder that nothing can be written to: the whole project, or one of those that the stage writes to."""
    trial.copy()
    written = {path.split("/")[0] for path in trial.project.outputs(trial.stage)} | {".ckpt", ""}
    chosen = trial.root / trial.rng.choice(sorted(written))
    chosen.mkdir(exist_ok=True)
    trial.notes["folder"] = chosen.relative_to(trial.root).as_posix()
    with ExitStack() as stack:
        if ROOT:
            subprocess.run(["mount", "--bind", chosen, chosen], check=True)
            stack.callback(_unmount, chosen)
            _mount("remount,bind", "ro", chosen)
        else:
            chosen.chmod(0o500)
            stack.callback(chosen.chmod, 0o700)
        ended = trial.run(Disturbance())
    yield ended


@contextmanager
def clock(trial: Trial) -> Iterator[Ended]:
    """A wall clock that jumps at a random moment, by up to ten years, either way."""
    trial.copy()
    jump, at = trial.rng.choice([-1, 1]) * 10 ** trial.rng.uniform(0.0, 8.5), time.monotonic() + trial.moment()

    def hook() -> None:
        seconds, nanoseconds = time.time, time.time_ns
        time.time = lambda: seconds() + jump * (time.monotonic() > at)
        time.time_ns = lambda: nanoseconds() + int(jump * 1e9) * (time.monotonic() > at)

    yield trial.run(Disturbance(hook=hook))


@contextmanager
def twice(trial: Trial) -> Iterator[Ended]:
    """A second run of the stage beside the first."""
    trial.copy()
    second: list[Ended] = []
    act = lambda _: second.append(trial.run(Disturbance()))  # noqa: E731
    first = trial.run(Disturbance(trial.moment(), act))
    trial.notes["second"] = [each.code for each in second]
    wrong = [each for each in second if each.code != 0 and "already running" not in each.said]
    yield wrong[0] if wrong else first


@contextmanager
def terminated(trial: Trial) -> Iterator[Ended]:
    """SIGTERM at a random moment."""
    trial.copy()
    yield _sent(trial, send(signal.SIGTERM, group=False))


@contextmanager
def ctrl_c(trial: Trial) -> Iterator[Ended]:
    """SIGINT at a random moment, to the group, as a terminal sends it."""
    trial.copy()
    yield _sent(trial, send(signal.SIGINT))


@contextmanager
def no_mlflow(trial: Trial) -> Iterator[Ended]:
    """An MLflow server that refuses, or takes connections and never answers."""
    with _nobody(trial) as address:
        yield _reported(trial, {"MLFLOW_TRACKING_URI": address})


@contextmanager
def no_prefect(trial: Trial) -> Iterator[Ended]:
    """A Prefect server that refuses, or takes connections and never answers."""
    with _nobody(trial) as address:
        yield _reported(trial, {"PREFECT_API_URL": f"{address}/api"})


FAULTS: dict[str, Fault] = {
    "full_disk": full_disk,
    "small_files": small_files,
    "read_only": read_only,
    "clock": clock,
    "twice": twice,
    "processes": processes,
    "handles": handles,
    "memory": memory,
    "sigterm": terminated,
    "ctrl_c": ctrl_c,
    "no_mlflow": no_mlflow,
    "no_prefect": no_prefect,
}


def _sent(trial: Trial, act: Callable[[int], None]) -> Ended:
    """A run that a signal came to: one that ended before it is tried again."""
    ended, tries = trial.run(Disturbance(trial.moment(), act)), 1
    while not ended.waited and tries < TRIES:
        ended, tries = trial.run(Disturbance(trial.moment(), act)), tries + 1
    return ended


@contextmanager
def _nobody(trial: Trial) -> Iterator[str]:
    """An address where nobody is, or somebody who says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if trial.rng.random() < 0.5:
            silent.close()
        yield f"http://127.0.0.1:{port}"


def _reported(trial: Trial, environment: dict[str, str]) -> Ended:
    """Run a stage with a sender of its own; its report must wait, whole."""
    trial.copy()
    ended = trial.alone(environment)
    events = [[event["event"] for event, _ in box.events(0)] for box in sender.boxes(trial.root)]
    trial.notes["waiting"] = len(events)
    if [(each[0], each[-1]) for each in events] != [("open", "close")]:
        trial.notes["lost"] = "what the stage reported"
    return ended


@contextmanager
def _disk(root: Path) -> Iterator[None]:
    """A small file system of its own at `root`."""
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", root], check=True)
    try:
        yield
    finally:
        _unmount(root)


def _mount(how: str, option: str, root: Path) -> None:
    subprocess.run(["mount", "-o", f"{how},{option}", root], check=True)


def _unmount(root: Path) -> None:
    for _ in range(50):
        if subprocess.run(["umount", root], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-l", root], check=True)
