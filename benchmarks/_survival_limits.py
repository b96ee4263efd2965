"""A trial of `benchmarks.survival`, and limits that the system sets to it: on files, processes, handles and memory."""

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._survival_project import Finished
from benchmarks._survival_runs import Disturbance, Ended

ROOT = os.geteuid() == 0
USERS = 61_000  # ids of users whom nobody is


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
        alone: likewise, with a sender of its own, and with these variables in its environment.
    """

    project: Finished
    root: Path
    stage: str
    rng: random.Random
    seconds: float
    run: Callable[[Disturbance], Ended]
    alone: Callable[[dict[str, str]], Ended]
    notes: dict[str, object] = field(default_factory=dict)

    def copy(self) -> None:
        """Make the folder ready."""
        self.project.copy(self.root, self.stage, former=self.rng.random() < 0.5, parts=self.rng)

    def moment(self) -> float:
        """A moment of the stage's duration."""
        return self.rng.uniform(0.0, self.seconds)

    def needs(self) -> int:
        """Bytes of what the stage writes."""
        paths = [self.project.root / path for path in self.project.outputs(self.stage)]
        files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
        return sum(file.stat().st_size for file in set(files))


@contextmanager
def small_files(trial: Trial) -> Iterator[Ended]:
    """A limit on the size of files, as a quota has it."""
    trial.copy()
    most = int(4 ** trial.rng.uniform(0.0, 9.0))
    yield trial.run(Disturbance(hook=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))))


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
    yield trial.run(Disturbance(hook=hook))
    if ROOT:
        subprocess.run(["chown", "-R", "0", trial.root], check=True)


@contextmanager
def handles(trial: Trial) -> Iterator[Ended]:
    """A limit on open files; Python can still open the program itself, for before that nothing of ours runs."""
    trial.copy()
    more = trial.rng.randrange(2, 24)

    def hook() -> None:
        most = max(map(int, os.listdir("/proc/self/fd"))) + more
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    trial.notes["handles"] = more
    yield trial.run(Disturbance(hook=hook))


@contextmanager
def memory(trial: Trial) -> Iterator[Ended]:
    """A limit on memory."""
    trial.copy()
    more = int(2 ** trial.rng.uniform(16.0, 29.0))

    def hook() -> None:
        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    trial.notes["bytes"] = more
    yield trial.run(Disturbance(hook=hook))
