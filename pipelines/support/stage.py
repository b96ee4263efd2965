"""What every stage is given and promises: `main(function)` makes a stage of a plain function, known to all three tools.

Imports nothing heavy, for `--help` should be quick; neither MLflow nor Prefect is ever imported by a stage.
"""

import argparse
import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import server
from pipelines.support.graph import ASIDE, Graph, folder_of, section_of
from pipelines.support.locks import locked
from pipelines.support.place import Place
from pipelines.support.processes import die_with_parent, end_soon_after_interrupt
from pipelines.support.telemetry import tracked
from pipelines.support.versions import remedy, versions
from srfoundry.config import params as params_file
from srfoundry.config.params import Params
from srfoundry.core import parallel
from srfoundry.core.errors import FoundryError
from srfoundry.core.results import curve_names, write_curve, write_metrics

if TYPE_CHECKING:
    import torch

    from srfoundry.core.compute import Compute
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
        self.params = params
        self.seed = params.shared.seed
        self.scale = params.shared.scale
        self.precision = params.shared.precision
        self.results = self.place.folder / "results" / folder_of(name)
        self.checkpoint = self.place.folder / ".ckpt" / f"{name}.pt"
        self.run: StageRun | None = None
        self._graph = self.place.graph(name)

    @cached_property
    def device(self) -> "torch.device":
        """Where to compute: `shared.device`, where auto takes a GPU if there is one."""
        from srfoundry.core.compute import chosen_device

        return chosen_device(self.params.shared.device)

    @property
    def compute(self) -> "Compute":
        """Where and how exactly its networks compute."""
        from srfoundry.core.compute import Compute

        return Compute(self.device, self.precision)

    @property
    def stream(self) -> "Stream":
        """Its random numbers."""
        from srfoundry.core.seeds import Stream

        return Stream(self.seed, self.name)

    @property
    def resumption(self) -> "Resumption":
        """What it goes on from after a kill, and its live curves."""
        from srfoundry.core.state import Resumption

        return Resumption(self.checkpoint, self.key, self.log)

    @cached_property
    def digests(self) -> dict[str, str]:
        """md5 of each dependency that dvc.yaml lists."""
        return self._graph.digests(self.name)

    @cached_property
    def sections(self) -> list[str]:
        """The sections of params.yaml that dvc.yaml lists for it, besides `shared`."""
        return self._graph.sections(self.name)

    @cached_property
    def key(self) -> str:
        """32 hex digits over params, inputs, device and versions: a checkpoint of another experiment has another."""
        parts = [self.params.section_hash(*self.sections), self.digests, str(self.device), versions()]
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def input(self, path: str) -> Path:
        """A file or folder that an earlier stage wrote.

        Raises:
            FoundryError: it is not there, or is of other values; names the stage that writes it.
        """
        return self.place.find(path, self._graph, self.params)

    def output(self, path: str) -> Path:
        """Where to write; the folder above is made."""
        target = self.place.folder / path
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


def main(function: Callable[[Stage], None], arguments: Sequence[str] | None = None) -> None:
    """Run a stage as DVC's command: params first, one writer a stage, a run in Prefect and in MLflow.

    Ends the process with 1 and one line for mistakes of the person (FoundryError), with a traceback for ours."""
    root = Path.cwd()
    options = _parser(function, root).parse_args(arguments)
    items = [str(getattr(options, key)) for key in Graph(root, aside=function.__name__).matrix(function.__name__)]
    name = "@".join([function.__name__, *(["-".join(items)] if items else [])])
    server.prepare_environment(root)
    if "DVC_STAGE" in os.environ:
        die_with_parent()
    place = Place.of(root, options.params)
    stopped = _once(
        f"{name}: stopped; {'the same command' if place.trial else 'dvc repro'} goes on from the last checkpoint"
    )
    end_soon_after_interrupt(stopped)
    busy = f"stage {name} is already running in {place.folder}; wait for it, or stop it first"
    try:
        params = params_file.load(options.params)
        with locked(place.folder / ".ckpt" / f"{name}.lock", busy):
            began = time.monotonic()
            _run(function, Stage(name, root, params, place))
            _say(f"{name}: done in {time.monotonic() - began:.0f} s")
    except FoundryError as error:
        _say(f"error: {error}")
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        if not (advice := remedy(error)):
            raise
        _say(f"error: {advice}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        stopped()
        parallel.leave(130)


def _run(function: Callable[[Stage], None], stage: Stage) -> None:
    from srfoundry.core.compute import settle

    device, key = stage.device, stage.key  # wrong hardware or a missing input stops here, before anything is sent
    settle(stage.params.shared.threads, stage.precision, device)
    threads = stage.params.shared.threads
    _say(f"{stage.name}: seed {stage.seed}, {device}, {threads} threads, key {key[:8]}{stage.place.title}")
    with tracked(stage.name, stage.place, stage.params, key=key, digests=stage.digests) as stage.run:
        function(stage)
    stage.run = None
    for leftover in stage.checkpoint.parent.glob(f"{stage.name}.pt*"):
        leftover.unlink()
    shutil.rmtree(stage.checkpoint.with_suffix(""), ignore_errors=True)  # where a stage keeps several


def _parser(function: Callable[[Stage], None], root: Path) -> argparse.ArgumentParser:
    graph = Graph(root, aside=function.__name__)
    matrix = graph.matrix(function.__name__)
    name = next((each for each in graph.stages if section_of(each) == function.__name__), function.__name__)
    aside = f"{ASIDE}/{name}/dvc.yaml"
    target = aside if (root / aside).is_file() else name
    lines = [
        inspect.getdoc(function) or name,
        "",
        f"reads    {', '.join(filter(graph.writer, graph.inputs(name))) or 'the photographs'}",
        f"writes   {', '.join(graph.outputs(name)) or f'results/{folder_of(name)}/'}",
        f"values   params.yaml, sections shared, {', '.join(graph.sections(name))}",
        f"resumes  .ckpt/{name}.pt or .ckpt/{name}/, written as it goes, gone when it is done",
        "",
        f"Usually run by `dvc repro {target}`, which runs what it needs first and skips what is up to date.",
    ]
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{function.__name__}",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        help="another params file, to try things: all that is written goes to runs/NAME/, nothing is registered",
    )
    for key, values in matrix.items():
        parser.add_argument(f"--{key}", choices=values, required=True, help=f"which one, as {name} in dvc.yaml")
    return parser


def _once(text: str) -> Callable[[], None]:
    """Something that says a line the first time that it is called."""
    lines = [text]
    return lambda: _say(lines.pop()) if lines else None


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
