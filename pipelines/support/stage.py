"""What every stage is given and promises: `main(function)` makes a stage of a plain function, known to all three tools.

Imports nothing heavy, for `--help` should be quick; neither MLflow nor Prefect is ever imported by a stage.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.support import figures, server, settings, times, torchrun
from pipelines.support.arguments import parser
from pipelines.support.graph import Graph, folder_of
from pipelines.support.locks import locked
from pipelines.support.place import Place
from pipelines.support.processes import die_with_parent, end_soon_after_interrupt, status
from pipelines.support.program import once, say, say_error
from pipelines.support.telemetry import tracked
from pipelines.support.versions import remedy, versions
from srfoundry.config import params as params_file
from srfoundry.config.params import Params
from srfoundry.core import parallel, ranks
from srfoundry.core.errors import FoundryError, refusal
from srfoundry.core.interrupts import ignore_at_exit
from srfoundry.core.results import curve_names, write_curve, write_metrics

if TYPE_CHECKING:
    import torch

    from srfoundry.core.compute import Compute
    from srfoundry.core.process_group import Processes
    from srfoundry.core.seeds import Stream
    from srfoundry.core.state import Resumption
    from srfoundry.tracking.spool import StageRun


class Stage:
    """One stage at work in the folder of one dvc.yaml: where it reads and writes, and how it says how it goes."""

    def __init__(self, name: str, root: Path, params: Params, place: Place | None = None) -> None:
        self.name = name  # as dvc.yaml has it, compress@50 for one of a matrix
        self.section, _, self.item = name.partition("@")
        self.root = root  # of code and of the user's inputs
        self.place = place or Place.of(root)  # of all that stages write
        self.folder = self.place.folder  # where this process writes: of several, only the first one's files stay
        self.params = params
        self.seed = params.shared.seed
        self.scale = params.shared.scale
        self.precision = params.shared.precision
        self.checkpoint = self.place.folder / ".ckpt" / f"{name}.pt"
        self.run: StageRun | None = None
        self.processes: Processes | None = None  # None: this one works alone
        self._graph = self.place.graph(name)

    @property
    def results(self) -> Path:
        """The folder of its metrics, curves and pictures."""
        return self.folder / "results" / folder_of(self.name)

    @cached_property
    def device(self) -> "torch.device":
        """Where to compute: `shared.device`, where auto takes a GPU if there is one."""
        from srfoundry.core.compute import chosen_device

        return chosen_device(self.params.shared.device)

    @property
    def compute(self) -> "Compute":
        """Where and how exactly its networks compute."""
        from srfoundry.core.compute import Compute

        spread = self.params.distributed
        memory = {"accumulate": spread.accumulate, "checkpointing": spread.checkpointing}
        return Compute(self.device, self.precision, **self._together, **memory)

    @property
    def stream(self) -> "Stream":
        """Its random numbers."""
        from srfoundry.core.seeds import Stream

        return Stream(self.seed, self.name)

    @property
    def resumption(self) -> "Resumption":
        """What it goes on from after a kill, and its live curves."""
        from srfoundry.core.state import Resumption

        seconds = 60.0 * settings.machine().checkpoint_minutes
        return Resumption(self.checkpoint, self.key, self.log, seconds=seconds, **self._together)

    @property
    def _together(self) -> dict[str, Any]:
        return {} if self.processes is None else {"processes": self.processes}

    @cached_property
    def digests(self) -> dict[str, str]:
        """md5 of each dependency that dvc.yaml lists."""
        return self._graph.digests(self.name)

    @cached_property
    def sections(self) -> list[str]:
        """The sections of params.yaml that dvc.yaml lists for it, besides `shared`."""
        return self._graph.sections(self.name)

    @property
    def params_hash(self) -> str:
        """16 hex digits over the values that make its files of the data: on the cards, and on its run in MLflow."""
        return self._graph.params_hash(self.name, self.params)

    @cached_property
    def key(self) -> str:
        """32 hex digits over params, inputs, device and versions: a checkpoint of another experiment has another."""
        parts = [self.params.section_hash(*self.sections), self.digests, str(self.device), versions()]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def input(self, path: str) -> Path:
        """A file or folder that an earlier stage wrote.

        Raises:
            FoundryError: it is not there, or is of other values or files; names the stage that writes it.
        """
        found = self.place.find(path, self._graph, self.params)
        if not self.place.trial:
            figures.check(self.name, path, self._graph)
        return found

    def output(self, path: str) -> Path:
        """Where to write; the folder above is made."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def log(self, step: int, values: dict[str, float]) -> None:
        """Note points of live curves. Telemetry only: nothing hashed may depend on it."""
        if self.run is not None:
            self.run.log(step, values)

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Write results/<stage>/metrics.json, sorted and rounded; mirror it to MLflow.

        Raises:
            FoundryError: a number is not finite.
        """
        path = self.output(f"results/{folder_of(self.name)}/metrics.json")
        rounded = write_metrics(path, values, self.name)
        if self.run is not None:
            self.run.metrics(rounded, path)

    def curve(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write results/<stage>/curves.csv and curves.png; each row has `step` and the values at that step."""
        from srfoundry.reporting.curves import curves_picture

        path = self.output(f"results/{folder_of(self.name)}/curves.csv")
        write_curve(path, history)
        picture = path.with_suffix(".png")
        curves_picture(picture, history, curve_names(history), self.name)
        self.picture("curves", picture)
        if self.run is not None:
            self.run.complete(history)

    def note(self, text: str) -> None:
        """Say one line to the person who runs the stage."""
        _say(f"{self.name}: {text}")

    def picture(self, name: str, path: Path) -> None:
        """Hand a PNG that stands under results/<stage>/ to MLflow."""
        if not path.is_file():
            raise FoundryError(f"picture {name} of {self.name} not found at {path}; write it before it is logged")
        if self.run is not None:
            self.run.picture(path)


def main(
    function: Callable[[Stage], None], arguments: Sequence[str] | None = None, *, distributed: bool = False
) -> None:
    """Run a stage as DVC's command: params first, one writer a stage, a run in Prefect and in MLflow.

    Ends the process with 1 and one line for mistakes of the person (FoundryError), with a traceback for ours.

    Args:
        function: the stage.
        arguments: of the command line, the program's own if not given.
        distributed: whether it trains, and so can be `distributed.processes` processes.
    """
    root = Path.cwd()
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser(function, root).parse_args(given)
    items = [str(getattr(options, key)) for key in Graph(root, aside=function.__name__).matrix(function.__name__)]
    name = "@".join([function.__name__, *(["-".join(items)] if items else [])])
    server.prepare_environment(root)
    if "DVC_STAGE" in os.environ or torchrun.OURS in os.environ:
        die_with_parent()
    place = Place.of(root, options.params)
    again = "the same command" if place.trial else "dvc repro"
    started = torchrun.OURS in os.environ  # by another process, which speaks for it
    stopped = once("" if started else f"{name}: stopped; {again} goes on from the last checkpoint")
    try:
        end_soon_after_interrupt(stopped, terminated=not started)
        params = params_file.load(options.params, over=root / "params.yaml")
        if torchrun.to_be_started(params.distributed.processes if distributed else 1, name):
            torchrun.launch(params.distributed.processes, given, name, _say)
            return
        began = time.monotonic()
        with _workplace(Stage(name, root, params, place)) as stage:
            _run(function, stage)
            took = time.monotonic() - began
            if ranks.rank() == 0:
                times.note(place.folder, name, took, threads=params.shared.threads, device=str(stage.device))
            _say(f"{name}: done in {took:.0f} s")
    except FoundryError as error:
        _fail(error, str(error))
    except ModuleNotFoundError as error:
        if not (advice := remedy(error)):
            torchrun.note_failure(error, "program")
            raise
        _fail(error, advice)
    except KeyboardInterrupt:
        stopped()
        parallel.leave(status())
    except Exception as error:
        if text := refusal(error):
            _fail(error, f"{name}: {text}")
        torchrun.note_failure(error, "program")
        raise
    finally:
        ignore_at_exit()


@contextmanager
def _workplace(stage: Stage) -> Iterator[Stage]:
    """The one writer has the stage's lock; what the other processes write goes nowhere."""
    if ranks.rank():
        with tempfile.TemporaryDirectory(prefix="srfoundry-") as folder:
            stage.folder = Path(folder)
            yield stage
        return
    folder = stage.place.folder
    busy = f"stage {stage.name} is already running in {folder}; wait for it, or stop it first"
    with locked(folder / ".ckpt" / f"{stage.name}.lock", busy):
        yield stage


def _run(function: Callable[[Stage], None], stage: Stage) -> None:
    from srfoundry.core.compute import settle
    from srfoundry.core.process_group import joined

    device, key = stage.device, stage.key  # wrong hardware or a missing input stops here, before anything is sent
    threads, count = stage.params.shared.threads, ranks.together()
    settle(threads, stage.precision, device)
    several = f"{count} processes of {threads} threads" if count > 1 else f"{threads} threads"
    _say(f"{stage.name}: seed {stage.seed}, {device}, {several}, key {key[:8]}{stage.place.title}")
    with joined(device) as stage.processes:
        if not stage.processes.first:
            function(stage)
            return
        with tracked(stage.name, stage.place, stage.params, key=key, digests=stage.digests) as stage.run:
            function(stage)
    stage.run = None
    for leftover in stage.checkpoint.parent.glob(f"{stage.name}.pt*"):
        leftover.unlink()
    shutil.rmtree(stage.checkpoint.with_suffix(""), ignore_errors=True)  # where a stage keeps several


def _fail(error: Exception, text: str) -> NoReturn:
    """End the process with one line; one of several leaves it to who started them."""
    kind = "lost" if type(error).__name__ == "Lost" else "person"
    torchrun.note_failure(error, kind, text)
    if torchrun.OURS not in os.environ or ranks.together() == 1:
        say_error(text)
    raise SystemExit(1) from None


def _say(text: str) -> None:
    if ranks.rank() == 0:
        say(text)
