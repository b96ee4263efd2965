"""Who takes what the stages of trials report, so that no process has to import MLflow and Prefect for each of them.

python -m benchmarks._survival_sender     the senders of the folders that standard input names, a line each
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks._survival_runs import Hook
from pipelines.support import sender, server
from pipelines.support.locks import locked


@contextmanager
def taken(root: Path) -> Iterator[Hook]:
    """Be the folder's sender meanwhile: what stages report is taken at once, and no process is started for it."""
    path = root / sender.FOLDER / sender.LOCK
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with suppress(BlockingIOError):  # a second run beside a first one: its folder has a sender
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield lambda: _take(root)
    finally:
        os.close(handle)
        _take(root)


def nothing() -> None:
    """What is done meanwhile where nothing is."""


def _take(root: Path) -> None:
    for box in sender.boxes(root):
        if box.closed:
            box.remove()


class Standing:
    """A process that has imported what a sender needs, and is the sender of one folder after another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    @contextmanager
    def sends(self, root: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """Be the folder's sender meanwhile."""
        if self._process is None:
            command = [sys.executable, "-m", "benchmarks._survival_sender"]
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        self._say(str(root))
        try:
            yield
        finally:
            self._say("")

    def _say(self, line: str) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise RuntimeError("the standing sender has ended")


class _Worker(sender._Worker):
    """Delivers until it is to end: a sender of a project lives as long as its process."""

    over = False

    def run(self) -> None:
        while not self.over:
            for box in sender.boxes(self._root):
                with suppress(OSError):  # the folder goes at any moment
                    self._try(box)
            time.sleep(0.1)


def main() -> None:
    """Serve one folder after another, an empty line after each; answer every line when it is done."""
    from pipelines.support import prefect_reports
    from srfoundry.tracking.delivery import MlflowRecipient

    server.prepare_environment(Path.cwd())
    prefect_reports.prepare()
    for line in sys.stdin:
        root = Path(line.strip())
        with locked(root / sender.FOLDER / sender.LOCK, "the folder has a sender"):
            workers = [_Worker(root, each) for each in (MlflowRecipient(root), prefect_reports.PrefectRecipient(root))]
            for worker in workers:
                worker.start()
            sys.stdout.write("sending\n")
            sys.stdout.flush()
            sys.stdin.readline()
            for worker in workers:
                worker.over = True
        sys.stdout.write("ended\n")
        sys.stdout.flush()
    os._exit(0)  # a thread may hang in a server that does not answer


if __name__ == "__main__":
    main()
