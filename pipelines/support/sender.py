"""Hands on what stages report: a process beside them, so that no server can hold up or fail a stage.

One a project. It lives while a stage does and a little longer, and tries again what a server did not take; what is
left then waits in .ckpt/telemetry for the next stage, `make ui` or:

    python -m pipelines.support.sender       sends what waits, and says what could not be sent
"""

import argparse
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.support import server
from pipelines.support.locks import locked
from pipelines.support.processes import alive, importable
from srfoundry.core.errors import FoundryError
from srfoundry.tracking.spool import Away, Box, Waits

if TYPE_CHECKING:
    from pipelines.support.prefect_reports import PrefectRecipient
    from srfoundry.tracking.delivery import MlflowRecipient

FOLDER = Path(".ckpt") / "telemetry"
LOCK, LOG = "sender.lock", "sender.log"
SECONDS = 3.0  # between two deliveries of an open box
FIRST, LONGEST = 2.0, 10.0  # seconds until a server that does not answer is asked again, twice as many each time
LINGER = 15.0  # seconds without a box before the process ends
TRIES = 20.0  # seconds that the boxes of ended stages are tried for where nobody answers
PATIENCE = 600.0  # likewise where somebody may: a server that starts, or is slow
RECIPIENTS = ("mlflow", "prefect")


def boxes(root: Path) -> list[Box]:
    """All boxes of a project, oldest first."""
    folder = root / FOLDER
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [Box(path) for path in found]


def busy(root: Path) -> bool:
    """Whether the project's sender lives."""
    if not (root / FOLDER / LOCK).exists():  # to look must not make a folder
        return False
    try:
        with locked(root / FOLDER / LOCK, "busy"):
            return False
    except FoundryError:
        return True


def start(root: Path) -> None:
    """Start the project's sender unless it lives; nothing here can fail whoever asks."""
    try:
        if busy(root):
            return
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        environment["PYTHONPATH"] = importable()
        with (root / FOLDER / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.support.sender", "--quiet"],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the stage
            )
        process.returncode = 0  # it outlives this process on purpose: Popen need not complain when it is dropped
    except OSError as error:
        sys.stderr.write(f"telemetry waits in {root / FOLDER}: {error.strerror}\n")


def wait(root: Path, box: Box, patience: dict[str, float]) -> None:
    """Wait until a closed box is taken, but for each recipient no longer than so many seconds."""
    began = time.monotonic()
    again = True
    while box.folder.exists():
        states = {name: box.state(name) for name in RECIPIENTS}
        waiting = [name for name in RECIPIENTS if not states[name]["done"] and not box.away(name)]
        if not any(time.monotonic() - began < patience[name] for name in waiting):
            break
        if again and not busy(root):  # it ended just before
            start(root)
            again = False
        time.sleep(0.05)
    for reason in {box.away(name) for name in RECIPIENTS} - {""}:
        sys.stderr.write(f"{reason}; what it misses waits in {FOLDER} and is sent by the next stage\n")


class _Worker(threading.Thread):
    """Delivers all boxes to one recipient, again and again."""

    def __init__(self, root: Path, recipient: "MlflowRecipient | PrefectRecipient") -> None:
        super().__init__(daemon=True)
        self._root = root
        self._recipient = recipient
        self._pauses: dict[str, float] = {}
        self._next: dict[str, tuple[float, str]] = {}
        self._sent: dict[str, tuple[float, int]] = {}

    def run(self) -> None:
        """Until the process ends."""
        while True:
            for box in boxes(self._root):
                self._try(box)
            time.sleep(0.1)

    def _try(self, box: Box) -> None:
        state, name, opening = box.state(self._recipient.name), box.folder.name, box.opening()
        if state["done"] or not opening:
            return
        address, now = self._recipient.address(opening), time.monotonic()
        for key in (address, name):
            until, reason = self._next.get(key, (0.0, ""))
            if now < until:
                if not box.away(self._recipient.name):
                    box.mark(self._recipient.name, reason)
                return
        sent, size = self._sent.get(name, (-SECONDS, 0))
        if not box.closed and (now - sent < SECONDS or box.size() == size):
            return
        size, reason, blamed = box.size(), "", address
        try:
            self._recipient.deliver(box)
        except Waits as error:
            reason, blamed = str(error), name
        except Away as error:
            reason = str(error)
        except (Exception, SystemExit) as error:  # whatever it is, it must not end the process that others wait for
            traceback.print_exc()
            reason, blamed = f"{self._recipient.name}: {type(error).__name__} ({error})", name
        if not box.folder.is_dir():
            return
        box.mark(self._recipient.name, reason)
        if reason:
            pause = min(LONGEST, self._pauses.get(blamed, FIRST / 2) * 2)
            self._pauses[blamed], self._next[blamed] = pause, (time.monotonic() + pause, reason)
        else:
            self._pauses.pop(address, None)
            self._sent[name] = (time.monotonic(), size)


def _work(root: Path, linger: float) -> None:
    """Deliver until nothing is left to do, nothing more can be done, or the folder is gone."""
    from pipelines.support.prefect_reports import PrefectRecipient
    from srfoundry.tracking.delivery import MlflowRecipient

    for recipient in (MlflowRecipient(root), PrefectRecipient(root)):
        _Worker(root, recipient).start()
    idle = ended = time.monotonic()  # when there was a box, and a box to wait for, last
    while (root / FOLDER / LOCK).exists():
        found = boxes(root)
        now = time.monotonic()
        for box in found:
            if all(box.state(name)["done"] for name in RECIPIENTS) or (box.closed and not box.opening()):
                box.remove()
            elif not box.closed and _dead(box):
                box.add("close", time=int(time.time() * 1000), status="KILLED", error="its process was killed")
                box.close()
        idle = now if found else idle
        open_boxes = [box for box in found if not box.closed]
        moving = [box for box in found if not all(box.state(n)["done"] or box.away(n) for n in RECIPIENTS)]
        ended = now if open_boxes or not found else ended
        if now - idle > linger or now - ended > (PATIENCE if moving else TRIES):
            return
        time.sleep(0.1)
    os._exit(0)  # a folder that is gone needs nothing


def _dead(box: Box) -> bool:
    """Whether the process that fills a box was killed before it closed it."""
    opening = box.opening()
    if not opening:  # it is just being made, or there was no room
        try:
            return time.time() - box.folder.stat().st_mtime > 60.0
        except OSError:
            return False
    return opening.get("host") == os.uname().nodename and not alive(str(opening.get("process", "")))


def main() -> None:
    """Be the project's sender, if it has none."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.sender",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing and wait for more, as beside a stage")
    quiet, root = parser.parse_args().quiet, Path.cwd()
    from pipelines.support import prefect_reports

    os.nice(5)
    server.prepare_environment(root)
    prefect_reports.prepare()
    if not quiet and not boxes(root):
        return
    while True:
        try:
            with locked(root / FOLDER / LOCK, "another process is sending; see .ckpt/telemetry/sender.log"):
                _work(root, LINGER if quiet else 0.0)
        except FoundryError as error:
            if not quiet:
                sys.stdout.write(f"{error}\n")
            break
        if all(box.closed for box in boxes(root)):  # else a stage began meanwhile, and counts on this process
            break
    if not quiet:
        left = boxes(root)
        reasons = {box.away(name) for box in left for name in RECIPIENTS} - {""}
        sys.stdout.write("\n".join([f"{len(left)} runs still wait", *reasons]) + "\n" if left else "all is sent\n")
        sys.stdout.flush()
    os._exit(0)  # a thread may hang in a server that does not answer


if __name__ == "__main__":
    main()
