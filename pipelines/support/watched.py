"""A local server that ends by itself: when its project's folder is gone, or nobody has used it for a while.

    python -m pipelines.support.watched PORT COMMAND...     runs the command in the project's folder, which serves PORT

SRFOUNDRY_IDLE_MINUTES says after how long; 0 = never.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from pipelines.support import sender
from pipelines.support.processes import PR_SET_PDEATHSIG

IDLE, MINUTES = "SRFOUNDRY_IDLE_MINUTES", 30.0
LOOK = 5.0  # seconds; a connection that was closed stays in the system's list for sixty


def minutes() -> float:
    """How long an unused server lives; infinite for 0."""
    try:
        value = float(os.environ.get(IDLE, MINUTES))
    except ValueError:
        value = MINUTES
    return value if value > 0 else float("inf")


def used(port: int) -> bool:
    """Whether somebody is connected to the port on this machine, or was a moment ago."""
    waiting = psutil.CONN_LISTEN
    return any(
        port in {end.port for end in (one.laddr, one.raddr) if end}
        for one in psutil.net_connections("tcp")
        if one.status != waiting
    )


def watch(process: "subprocess.Popen[bytes]", root: Path, port: int, seconds: float) -> None:
    """Wait until a server ends, its project's folder is another or none, or nobody has used it for so many seconds.

    A stage at work uses it, whether it reports or not.
    """
    folder, last = _inode(root), time.monotonic()
    look = min(LOOK, seconds / 4)
    while process.poll() is None and folder and _inode(root) == folder:
        if used(port) or sender.busy(root):
            last = time.monotonic()
        if time.monotonic() - last > seconds:
            return
        time.sleep(look)


def _inode(root: Path) -> int:
    try:
        return root.stat().st_ino
    except OSError:
        return 0


def main() -> None:
    """Run the server's command, watch it, and end its whole group when it is over."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.watched",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("port", type=int, help="that the command serves")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="and its arguments")
    options = parser.parse_args()
    kill = ctypes.CDLL(None, use_errno=True).prctl
    process = subprocess.Popen(options.command, preexec_fn=lambda: kill(PR_SET_PDEATHSIG, signal.SIGTERM))
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # then `watch` sees its end
    watch(process, Path.cwd(), options.port, minutes() * 60)
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(8.0)
        except subprocess.TimeoutExpired:
            pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgid(0), signal.SIGTERM)  # what the server has started
    raise SystemExit(process.poll() or 0)


if __name__ == "__main__":
    main()
