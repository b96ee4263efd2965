"""One stage run alone in a folder: forked from a process that has imported everything, or as a process of its own.

A stage spends seconds on imports and a moment on the tiny graph. A fork is where a fresh process would be after its
imports, so that most runs can be forks; a share of them are `python -m pipelines.STAGE` and `dvc repro`.
"""

import atexit
import fcntl
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks._survival_imports import alone
from srfoundry.core.interrupts import leave_quietly

LOOK = 0.002  # seconds between two looks at a process
ROOM = 2**20  # bytes of a pipe
PATIENCE = 300.0  # seconds after which a run counts as hanging
WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree", "shutil.copyfile")
ENDING = (signal.SIGINT, signal.SIGTERM)
Hook = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: its exit status, or minus the signal that ended it.
        seconds: from its start.
        said: standard output and error.
        waited: seconds from the disturbance to the end; 0 where nothing was sent to it.
    """

    code: int
    seconds: float
    said: str
    waited: float = 0.0

    @property
    def hangs(self) -> bool:
        """Whether it was ended for want of patience."""
        return self.seconds > PATIENCE


@dataclass(frozen=True)
class Disturbance:
    """What happens to a run: something at a moment, and something at its start.

    Args:
        at: seconds from the start; infinite for never.
        act: what happens then, to the process with this id.
        hook: what a fork calls before its stage begins.
    """

    at: float = float("inf")
    act: Callable[[int], None] | None = None
    hook: Hook | None = None


def send(number: int, *, group: bool = True) -> Callable[[int], None]:
    """Send a signal to a process, or to its whole group."""

    def act(pid: int) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)

    return act


def kill_at_write(count: int) -> Hook:
    """End the process with SIGKILL before the n-th time that it writes, renames or removes a file."""
    left = [count]

    def look(event: str, arguments: tuple[object, ...]) -> None:
        writes = event in WRITES or (event == "open" and _writes(arguments))
        if writes:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(look)


def count_writes(file: Path) -> Hook:
    """Note in a file how often the process writes, renames or removes a file, and which modules it has at its end."""
    count = [0]

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event in WRITES or (event == "open" and _writes(arguments)):
            count[0] += 1

    def note() -> None:
        total, names = count[0], sorted(name for name in sys.modules if not name.startswith(("__", "pipelines.")))
        file.write_text(json.dumps({"writes": total, "modules": names}))

    def begin() -> None:
        atexit.register(note)
        sys.addaudithook(look)

    return begin


def keep_parts(folder: Path, into: Path) -> Hook:
    """Copy a folder of finished parts before the process removes it."""

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event == "shutil.rmtree" and Path(str(arguments[0])) == folder and folder.is_dir():
            shutil.copytree(folder, into)

    return lambda: sys.addaudithook(look)


def _writes(arguments: tuple[object, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def fork(
    words: Sequence[str], root: Path, environment: Mapping[str, str], disturbance: Disturbance, meanwhile: Hook
) -> Ended:
    """Run `python -m WORDS` in a fork of this process, which must have one thread."""
    alone()
    output = _Output()
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # Python's own start, in which nothing can answer, is no moment
    pid = os.fork()
    if pid == 0:
        _become(words, root, environment, output.end, disturbance.hook)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return _watch(pid, output, disturbance, meanwhile)


def start(
    command: Sequence[str], root: Path, environment: Mapping[str, str], disturbance: Disturbance, meanwhile: Hook
) -> Ended:
    """Run a command as a process of its own."""
    output = _Output()
    process = subprocess.Popen(
        command,
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output.end,
        stderr=output.end,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ended = _watch(process.pid, output, disturbance, meanwhile)
    process.returncode = ended.code
    return ended


class _Output:
    """What a run says, through a pipe, as a terminal or DVC takes it: no limit of the run's on files meets it.

    Attributes:
        end: which the run writes to.
    """

    def __init__(self) -> None:
        self._from, self.end = os.pipe()
        fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, ROOM)  # nobody reads while another run goes on beside
        os.set_blocking(self._from, False)
        self._said = b""

    def take(self) -> None:
        """Take what is there."""
        with suppress(BlockingIOError):
            while block := os.read(self._from, ROOM):
                self._said += block

    def close(self) -> str:
        """All that was said."""
        self.take()
        os.close(self._from)
        os.close(self.end)
        return self._said.decode(errors="replace")


def _become(words: Sequence[str], root: Path, environment: Mapping[str, str], out: int, hook: Hook | None) -> NoReturn:
    """Be `python -m WORDS` from here on."""
    code: object = 0
    try:
        os.setsid()
        os.chdir(root)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.clear()
        os.environ.update(environment)
        for number in ENDING:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        sys.argv = ["-m", *words[1:]]
        sys.modules.pop(words[0], None)
        leave_quietly()  # as the package does when Python is about to run one of its modules; here it is imported
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        if hook is not None:
            hook()
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(bool(code)))


def _watch(pid: int, output: _Output, disturbance: Disturbance, meanwhile: Hook) -> Ended:
    """Wait for the end of a run, do to it what is to be done, and end what is left of its group."""
    began = looked = time.monotonic()
    acted = 0.0
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if found:
            break
        if disturbance.act is not None and not acted and now - began >= disturbance.at:
            acted = now
            disturbance.act(pid)
        if now - looked > 0.05:
            looked = now
            output.take()
            meanwhile()
        if now - began > PATIENCE:
            send(signal.SIGKILL)(pid)
            os.waitpid(pid, 0)
            return Ended(-signal.SIGKILL, now - began, output.close())
        time.sleep(LOOK)
    send(signal.SIGKILL)(pid)
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, now - began, output.close(), now - acted if acted else 0.0)
