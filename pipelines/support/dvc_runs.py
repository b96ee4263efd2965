"""DVC run from here, stage by stage: which stages are stale, one stage at a time, and what that did."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from pipelines.support.graph import ALWAYS
from pipelines.support.locks import locked
from srfoundry.core.errors import FoundryError

BARS = 30.0  # seconds between two lines of a progress bar
ENDED = re.compile(r"^ERROR: failed to reproduce .*exited with (-?\d+)$")
KILLS: dict[int, str] = {
    signal.SIGKILL: "SIGKILL, which Linux sends where memory is short; smaller batches or fewer jobs need less",
    signal.SIGTERM: "SIGTERM",
    signal.SIGSEGV: "SIGSEGV, in which a library ends at times where memory is short",
    signal.SIGBUS: "SIGBUS, which comes where a disk is full, too",
    signal.SIGILL: "SIGILL: a package is built for another processor",
    signal.SIGABRT: "SIGABRT",
}
DVC = (  # DVC, in a process that ends with this one
    "from pipelines.support.processes import die_with_parent; die_with_parent(); "
    "from dvc.cli import main; raise SystemExit(main())"
)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Be the only one that brings this project up to date: two would run the same stages.

    Raises:
        FoundryError: another process does.
    """
    busy = f"the pipeline is already running in {root}; wait for it, or stop it first"
    with locked(root / ".ckpt" / "reproduce.lock", busy):
        yield


def stale(root: Path) -> list[str]:
    """Stages that `dvc status` finds changed, but for the one that always runs; empty means that nothing needs to.

    Raises:
        FoundryError: DVC fails at it.
    """
    done = subprocess.run(
        dvc("status", "--json", "dvc.yaml"),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FoundryError(f"dvc status failed: {complaint(done.stderr.splitlines())}")
    return [stage for stage in json.loads(done.stdout.strip().splitlines()[-1]) if stage != ALWAYS]


def single(stage: str, *, pull: bool = False) -> list[str]:
    """The command that lets DVC run, restore or skip one stage.

    It waits where another stage's DVC holds the project for a moment.

    Args:
        pull: what the stage reads, and what another machine has already made of it, comes from DVC's remote.
    """
    return dvc("repro", "--single-item", *(["--pull"] if pull else []), stage)


def dvc(*words: str) -> list[str]:
    """The command that runs DVC, and waits where another one holds the project for a moment."""
    return [sys.executable, "-c", DVC, "--wait-for-lock", *words]


def lines(
    command: list[str],
    root: Path,
    environment: dict[str, str],
    bars: float = BARS,
    stop: threading.Event | None = None,
) -> Generator[tuple[str, int | None]]:
    """Run a command and give each line as it comes, then ("", exit code); progress bars give one line now and then.

    The process ends with the iteration, also when that is broken off.

    Args:
        bars: seconds between two lines of a progress bar.
        stop: ends the process when it is set, also while nothing is said.
    """
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    barred = -bars
    if stop is not None:
        threading.Thread(target=_end_at, args=(process, stop), daemon=True).start()
    try:
        with TextIOWrapper(process.stdout, errors="replace", newline="") as said:  # "\r" ends a bar's line
            for line in said:
                if line.endswith("\r"):
                    if time.monotonic() - barred < bars:
                        continue
                    barred = time.monotonic()
                if line.strip():
                    yield line.rstrip(), None
        yield "", process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_at(process: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    while process.poll() is None:
        if stop.wait(0.2):
            process.terminate()
            return


def verdict(said: list[str]) -> str:
    """ran, restored or unchanged: what `dvc repro --single-item` did, from what it said."""
    if any(line.startswith("Running stage") for line in said):
        return "ran"
    return "restored" if any("is cached - skipping run" in line for line in said) else "unchanged"


def killed(said: list[str]) -> int:
    """The signal that ended a stage's process from outside, from what DVC said; 0 where none did."""
    for line in reversed(said):
        found = ENDED.search(line)
        number = int(found[1]) if found else 0
        if number < 0 and -number != signal.SIGINT:
            return -number
        if number - 128 in KILLS:  # a shell in between adds 128; programs end with such numbers, too
            return number - 128
    return 0


def busy(said: list[str]) -> bool:
    """Whether DVC failed because another DVC holds a file that it needs; it waits for none of those (`rwlock`)."""
    return any("is busy, it is being blocked by" in line for line in said)


def complaint(said: list[str]) -> str:
    """The line that says why a command failed: a stage's own before DVC's, which only says that it did.

    A stage that the system has killed says nothing itself: the signal is named for it."""
    if number := killed(said):
        return f"its process was ended by {KILLS.get(number) or signal.Signals(number).name}"
    for mark in ("error: ", "ERROR: "):
        for line in reversed(said):
            if line.startswith(mark):
                return line.removeprefix(mark)
    return said[-1] if said else "it said nothing"
