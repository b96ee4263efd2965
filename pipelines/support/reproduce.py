"""What `make repro` runs: everything that is out of date, stages that need nothing of each other side by side.

    python -m pipelines.support.reproduce             as many side by side as shared.threads leaves cores for
    python -m pipelines.support.reproduce --jobs 1    one after the other, as `dvc repro` does

DVC decides what is stale and runs each stage; only the order is made here, by `dvc.yaml`. The bytes are those of
`dvc repro`. How long it will take is said first, from a few timed steps.
"""

import argparse
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pipelines.support import forecast, run_values, server, times
from pipelines.support.dvc_runs import alone, complaint, lines, single, stale, verdict
from pipelines.support.graph import ALWAYS, Graph
from pipelines.support.program import answering
from pipelines.support.schedule import side_by_side
from srfoundry.config import params as params_file
from srfoundry.config.params import Params
from srfoundry.core import cores
from srfoundry.core.errors import FoundryError

GOES_ON = "make repro goes on from the last checkpoints"
BARS = 10.0  # seconds between two lines of a stage's progress
CHATTER = re.compile(
    r"Running stage|> |Updating lock file|Generating lock file|To track|To enable|Use `dvc|\t|Stage '.*didn't"
)
BAR = re.compile(
    r"(?P<title>.*?): +(?P<share>\d+)%\|.*\| (?P<done>\S+) \[(?P<spent>[^<]+)<(?P<left>[^,]+), *(?P<rate>[^,\]]+)"
)


def concerned(graph: Graph, changed: Sequence[str]) -> dict[str, list[str]]:
    """The stages that may have to run when these are stale, with those of their parents that may."""
    names = {name for name in graph.order() if name in changed or set(changed) & set(graph.ancestors(name))}
    return {
        name: [parent for parent in graph.parents(name) if parent in names] for name in graph.order() if name in names
    }


def reproduce(root: Path, params: Params, jobs: int | None) -> dict[str, str]:
    """Bring every stage up to date and return what was done with each: ran, restored or unchanged.

    Raises:
        FoundryError: a stage failed; the others were stopped, and go on from their checkpoints next time.
    """
    stop, terminal = threading.Event(), threading.Lock()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    def run(stage: str) -> str:
        so_far: list[str] = []
        with closing(lines(single(stage), root, environment, BARS, stop)) as output:
            for line, code in output:
                if stop.is_set():
                    raise FoundryError(f"{stage} was stopped")
                if code:
                    raise FoundryError(f"stage {stage} failed: {complaint(so_far)}\n{GOES_ON}")
                so_far.append(line)
                if code is None and not CHATTER.match(line):
                    with terminal:
                        _say(f"{stage:12s} {plain(line, stage)}")
        return verdict(so_far)

    graph = Graph(root)
    what = {ALWAYS: run(ALWAYS)} if ALWAYS in graph.stages else {}
    names = concerned(graph, stale(root))
    if not names:
        return what
    count = jobs or forecast.jobs(params)
    environment[cores.SIDE_BY_SIDE] = str(count)
    seconds = forecast.seconds(params, list(names))
    needed = forecast.whole(names, seconds, count)
    threads = f"{params.shared.threads} thread{'s' if params.shared.threads > 1 else ''}"
    alone = "" if count == 1 else f", {forecast.in_words(sum(seconds.values()))} one after the other"
    _say(f"{len(names)} stages, {count} side by side, {threads} each: about {forecast.in_words(needed)} here{alone}")
    began = time.monotonic()
    what |= side_by_side(names, run, jobs=count, seconds=seconds, stop=stop)
    _say(f"done in {forecast.in_words(time.monotonic() - began)}")
    return what


def plain(line: str, stage: str) -> str:
    """A line of a stage without its name, a bar's as words."""
    found = BAR.match(line)
    if found:
        title = found["title"].removeprefix(stage).strip()
        left = f", {found['left']} left" if found["left"] not in ("?", "00:00") else ""
        return f"{title + ' ' if title else ''}{found['share']} %, {found['done']}, {found['rate']}{left}"
    return line.removeprefix(f"{stage}: ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reproduce what is stale; ends the process with 1 and one line where a stage fails."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jobs", type=_count, help="stages at a time; cores over shared.threads if not given")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    server.prepare_environment(root)
    with answering(f"stopped; {GOES_ON}"):
        with alone(root):
            run_values.restore(root)
            params = params_file.load(root / "params.yaml")
            times.begin(root)
            reproduce(root, params, options.jobs)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of stages; write 1 or more")
    return int(text)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
