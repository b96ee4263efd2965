"""Processes that must end with others, and names for them that are never given twice."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
SHELLS = ("sh", "dash", "bash", "zsh", "fish")


def identity(pid: int) -> str:
    """boot/pid/start of a live process, empty for a dead one: a pid alone is used again after a while.

    The kernel's own ticks: psutil's start times move when the clock is set.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] == "Z":
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{boot}/{pid}/{fields[19]}"


def importable() -> str:
    """PYTHONPATH for a process that runs a module of `pipelines` from any folder: where it is, then what there was."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))


def alive(who: str) -> bool:
    """Whether the process that `identity` named still runs."""
    return bool(who) and identity(int(who.split("/")[1])) == who


def die_with_parent() -> None:
    """End this process at once when its starter ends, however it ends: an orphan would write beside its successor.

    The starter is the parent, or whoever started the shell that DVC puts in between (bash makes way for its command,
    dash stays and outlives DVC). The kernel sends SIGKILL where the parent ends, a thread where the shell's does.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    orphan = parent == 1 and b"dvc" not in Path("/proc/1/cmdline").read_bytes()
    if orphan or os.getppid() != parent:
        raise SystemExit(143)
    shell = psutil.Process(parent) if "DVC_STAGE" in os.environ and psutil.Process(parent).name() in SHELLS else None
    above = _above(shell)

    def watch() -> None:
        while os.getppid() == parent and _above(shell) == above:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def end_soon_after_interrupt(last_words: Callable[[], None], patience: float = 1.0, *, terminated: bool = True) -> None:
    """Let Ctrl-C or SIGTERM end this process within `patience` seconds, whatever it is at: a long step, busy threads.

    Both raise KeyboardInterrupt, for what can be closed in that time; then a thread, which the signal itself wakes,
    says the last words and ends the process. What is lost is what a kill loses. `status` tells them apart.

    Args:
        last_words: says them, once however often it is called.
        patience: in seconds.
        terminated: whether SIGTERM counts, too; otherwise the process dies of it at once.
    """
    numbers = (signal.SIGINT, signal.SIGTERM) if terminated else (signal.SIGINT,)
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _interrupt)
    sys.unraisablehook = partial(_unraisable, sys.unraisablehook)

    def watch() -> None:
        while (number := os.read(woken, 1)[0]) not in numbers:
            pass
        time.sleep(patience)
        last_words()
        os._exit(128 + number)

    threading.Thread(target=watch, daemon=True).start()


def status() -> int:
    """The exit status of a process that a signal ends: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[0] if _received else signal.SIGINT)


_received: list[int] = []  # signals, in the order in which they came


def _interrupt(number: int, _frame: object) -> None:
    _received.append(number)
    if len(_received) == 1:  # who is closing files is not interrupted once more
        raise KeyboardInterrupt


def _unraisable(usual: Callable[["sys.UnraisableHookArgs"], object], said: "sys.UnraisableHookArgs") -> None:
    """Say nothing of an interruption that met a finaliser, out of which nothing is raised: the thread ends the work."""
    if not isinstance(said.exc_value, KeyboardInterrupt):
        usual(said)


def _above(shell: psutil.Process | None) -> int:
    """Who started the shell; 0 where there is none, or none any more."""
    try:
        return shell.ppid() if shell else 0
    except psutil.NoSuchProcess:
        return 0
