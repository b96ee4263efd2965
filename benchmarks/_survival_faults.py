"""What can go wrong around a stage, made to happen: each fault prepares a trial's folder, lets it run, and mends.

Root is needed for a small disk and for a folder that nothing can be written to; without it a limit on the size of files
and permissions take their place.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._survival_project import Finished
from benchmarks._survival_runs import Disturbance, Ended, send

ROOT = os.geteuid() == 0
USERS = 61_000  # ids of users whom nobody is
DAY = 86_400.0


@dataclass
class Trial:
    """One stage that something happens to.

    Args:
        project: the undisturbed one.
        root: the folder of the trial.
        stage: that runs in it.
        rng: of all that is random.
        seconds: that the stage takes undisturbed.
        run: runs the stage in the folder.
    """

    project: Finished
    root: Path
    stage: str
    rng: random.Random
    seconds: float
    run: Callable[[Disturbance, dict[str, str]], Ended]
    notes: dict[str, object] = field(default_factory=dict)

    def copy(self) -> None:
        """Make the folder ready."""
        self.project.copy(self.root, self.stage, former=self.rng.random() < 0.5)

    def moment(self) -> float:
        """A moment of the stage's duration."""
        return self.rng.uniform(0.0, self.seconds)

    def needs(self) -> int:
        """Bytes of what the stage writes."""
        paths = [self.project.root / path for path in self.project.outputs(self.stage)]
        files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        return sum(file.stat().st_size for file in set(files))


Fault = Callable[[Trial], AbstractContextManager[Ended]]


@contextmanager
def full_disk(trial: Trial) -> Iterator[Ended]:
    """No room left after a random part of what the stage writes."""
    part = trial.rng.uniform(0.0, 1.0)
    if not ROOT:
        trial.copy()
        most = int(part * 65_536)
        yield trial.run(Disturbance(hook=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))), {})
        return
    with _disk(trial.root):
        trial.copy()
        used = shutil.disk_usage(trial.root).used
        _mount("remount", f"size={used + int(part * trial.needs())}", trial.root)
        ended = trial.run(Disturbance(), {})
        _mount("remount", "size=1g", trial.root)
        yield ended


@contextmanager
def small_files(trial: Trial) -> Iterator[Ended]:
    """A limit on the size of files, as a quota has it."""
    trial.copy()
    most = int(4 ** trial.rng.uniform(0.0, 9.0))
    yield trial.run(Disturbance(hook=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))), {})


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
        ended = trial.run(Disturbance(), {})
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

    yield trial.run(Disturbance(hook=hook), {})


@contextmanager
def twice(trial: Trial) -> Iterator[Ended]:
    """A second run of the stage beside the first."""
    trial.copy()
    second: list[Ended] = []
    act = lambda _: second.append(trial.run(Disturbance(), {}))  # noqa: E731
    first = trial.run(Disturbance(trial.moment(), act), {})
    trial.notes["second"] = [each.code for each in second]
    wrong = [each for each in second if each.code != 0 and "already running" not in each.said]
    yield wrong[0] if wrong else first


@contextmanager
def processes(trial: Trial) -> Iterator[Ended]:
    """A limit on processes and threads."""
    trial.copy()
    most, user = trial.rng.choice([0, 1, 2, 3, 4]), USERS + trial.rng.randrange(1000)
    if ROOT:
        subprocess.run(["chown", "-R", str(user), trial.root], check=True)

    def hook() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        if ROOT:  # whom no limit of processes binds
            os.setgroups([])
            os.setuid(user)

    trial.notes["processes"] = most
    yield trial.run(Disturbance(hook=hook), {})
    if ROOT:
        subprocess.run(["chown", "-R", "0", trial.root], check=True)


@contextmanager
def handles(trial: Trial) -> Iterator[Ended]:
    """A limit on open files."""
    trial.copy()
    more = trial.rng.randrange(0, 24)

    def hook() -> None:
        most = max(map(int, os.listdir("/proc/self/fd"))) + more
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    trial.notes["handles"] = more
    yield trial.run(Disturbance(hook=hook), {})


@contextmanager
def memory(trial: Trial) -> Iterator[Ended]:
    """A limit on memory."""
    trial.copy()
    more = int(2 ** trial.rng.uniform(16.0, 29.0))

    def hook() -> None:
        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    trial.notes["bytes"] = more
    yield trial.run(Disturbance(hook=hook), {})


@contextmanager
def terminated(trial: Trial) -> Iterator[Ended]:
    """SIGTERM at a random moment."""
    trial.copy()
    yield trial.run(Disturbance(trial.moment(), send(signal.SIGTERM, group=False)), {})


@contextmanager
def ctrl_c(trial: Trial) -> Iterator[Ended]:
    """SIGINT at a random moment, to the group, as a terminal sends it."""
    trial.copy()
    yield trial.run(Disturbance(trial.moment(), send(signal.SIGINT)), {})


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
}


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
