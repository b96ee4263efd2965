"""What every program of `pipelines` promises: an error is one sentence, and Ctrl-C ends it within two seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipelines.support.processes import end_soon_after_interrupt, status
from srfoundry.core import parallel
from srfoundry.core.errors import FoundryError, refusal
from srfoundry.core.interrupts import ignore_at_exit
from srfoundry.core.progress import end

STOPPED = "stopped; what is finished stays"


@contextmanager
def answering(last_words: str = STOPPED, *, terminated: bool = True) -> Iterator[None]:
    """Within: mistakes of a person, what the system refuses, Ctrl-C and SIGTERM end the process with one line.

    Args:
        last_words: the line of an interruption.
        terminated: whether SIGTERM counts, too; otherwise the process dies of it at once.
    """
    stopped = once(last_words)
    try:
        end_soon_after_interrupt(stopped, terminated=terminated)
        yield
    except KeyboardInterrupt:
        stopped()
        parallel.leave(status())
    except FoundryError as error:
        say_error(str(error))
        raise SystemExit(1) from None
    except Exception as error:
        if not (text := refusal(error)):
            raise
        say_error(text)
        raise SystemExit(1) from None
    finally:
        ignore_at_exit()


def once(line: str) -> Callable[[], None]:
    """Something that says a line the first time that it is called; nothing for an empty one."""
    lines = [line] if line else []
    return lambda: say(lines.pop()) if lines else None


def say_error(text: str) -> None:
    """Write the one line of an error, below the bars that stood, if anything can be written."""
    end()
    with suppress(OSError):  # standard error may be a log on the very disk that is full
        say(f"error: {text}")


def say(text: str) -> None:
    """Write a line to standard error, at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
