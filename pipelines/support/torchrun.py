"""A stage as several processes of this host: torch elastic starts, watches and ends them, as in `torchrun`.

An error of a person comes from a process as one sentence, and ends all. Where a process was lost (killed, perhaps for
want of memory), all of them start again, and go on from the last checkpoint.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from srfoundry.core import ranks
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

OURS = "SRFOUNDRY_STARTED"  # in the environment of processes that a stage has started, not a person
ERRORS = "TORCHELASTIC_ERROR_FILE"  # where a process of torch elastic says why it fails
RESTARTS = 3

Kind = Literal["person", "lost", "program"]


def launch(count: int, arguments: Sequence[str], title: str, say: Callable[[str], None]) -> None:
    """Run this program again as `count` processes on this host, until all of them are done.

    Args:
        count: of the processes.
        arguments: of the program.
        title: of the stage, for lines to the person.
        say: writes such a line.

    Raises:
        FoundryError: what a process failed for, or that too many were lost.
        KeyboardInterrupt, SystemExit: this process was interrupted, or ended by a signal; the others are ended, too.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.CRITICAL)  # of torch elastic, in the process that only watches
    os.environ[OURS] = "1"
    lost = ""
    for restart in range(RESTARTS + 1):
        try:
            _elastic(count, arguments)
            return
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + error.sigval) from None
        except ChildFailedError as error:
            lost = _lost(error.failures)
        if restart < RESTARTS:
            say(f"{title}: {lost}; all start again from the last checkpoint ({restart + 1} of {RESTARTS})")
    raise FoundryError(f"{lost}, {RESTARTS + 1} times; see that memory suffices, or lower distributed.processes")


def _elastic(count: int, arguments: Sequence[str]) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    spec = sys.modules["__main__"].__spec__
    program = ["-m", spec.name] if spec else [sys.argv[0]]
    with tempfile.TemporaryDirectory(prefix="srfoundry-") as folder:
        others = {rank: Std.ALL for rank in range(1, count)}  # what they say is what the first one says
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            logs_specs=DefaultLogsSpecs(log_dir=folder, redirects=others),
            run_id=str(uuid.uuid4()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,  # an error of a person would only come again
            local_addr="localhost",
        )
        elastic_launch(config, sys.executable)(*program, *arguments)


def _lost(failures: Mapping[int, "ProcessFailure"]) -> str:
    """What is to be said of a lost process; raises where one failed for another reason."""
    said = {rank: _said(failure) for rank, failure in failures.items()}
    for kind, message, _ in said.values():  # of any rank: the others may have been ended for it without a word
        if kind == "person":
            raise FoundryError(message)
    for rank, (kind, _, trace) in sorted(said.items()):
        if kind == "program":
            if rank:  # the first one's stands on the terminal
                sys.stderr.write(trace)
            raise SystemExit(1)
    by_signal = {rank: failure for rank, failure in failures.items() if failure.exitcode < 0}
    if not by_signal:
        return "the processes lost each other"
    # the others are ended by SIGTERM
    rank, failure = min(by_signal.items(), key=lambda each: (each[1].exitcode == -signal.SIGTERM, each[0]))
    return f"process {rank + 1} was ended by {failure.signal_name()}"


def _said(failure: "ProcessFailure") -> tuple[Kind, str, str]:
    found: Any = failure.error_file_data.get("message", "")
    if not isinstance(found, dict):  # it had no time to say anything
        return ("lost" if failure.exitcode < 0 else "program"), str(failure.message), ""
    return found["extraInfo"]["kind"], found["message"], found["extraInfo"]["py_callstack"]


def to_be_started(wanted: int, name: str) -> bool:
    """Whether this process is to start the ones that do a stage's work.

    Args:
        wanted: how many the stage shall have.
        name: of the stage.

    Raises:
        FoundryError: they were started, but another number of them: it is part of the result's bytes.
    """
    together = ranks.together()
    if together == 1:
        return wanted > 1
    if together != wanted:
        what = f"as {wanted} processes (distributed.processes)" if wanted > 1 else "as one process"
        raise FoundryError(f"{name} works {what}, got {together} from torchrun; change one of the two")
    return False


def note_failure(error: BaseException, kind: Kind, message: str = "") -> None:
    """Leave why this process fails to torch elastic, if that has started it."""
    path = os.environ.get(ERRORS)
    if not path:
        return
    more = {"py_callstack": traceback.format_exc(), "timestamp": str(int(time.time())), "kind": kind}
    text = json.dumps({"message": {"message": message or str(error), "extraInfo": more}})
    with open(path, "w") as file:
        file.write(text)
