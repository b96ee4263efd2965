"""Ctrl-C while a program still imports its libraries, which takes seconds: one line, and the end.

Imports nothing that takes time, for it is the first that a program imports.
"""

import atexit
import os
import signal
import sys


def leave_quietly() -> None:
    """Until the program sets its own handlers: nothing has begun, so that nothing needs to be closed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _leave)


def raise_again() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again, and SIGTERM end the process: there is something to be closed now."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is _leave:
            signal.signal(number, usual)


def ignore_at_exit() -> None:
    """Let nothing interrupt what Python and libraries do as the process ends: the work is done, its status stands.

    Call it last, for what was registered last runs first.
    """
    atexit.register(_ignore)


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _frame: object) -> None:
    try:
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"stopped; nothing had begun\n")
    finally:
        os._exit(128 + number)
