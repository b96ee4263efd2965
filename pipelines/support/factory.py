"""The whole graph as one Prefect flow, in which DVC alone decides what is stale.

    python -m pipelines.support.factory run                       one run now
    python -m pipelines.support.factory serve                     wait for the Run button of the Prefect UI
    python -m pipelines.support.factory serve --cron "0 3 * * *"  and run every night at three

Scheduled runs of `serve` start only while it lives. On a server of its own, with workers that pull, `prefect.yaml`
deploys the same flow (docs/cluster.md). A table artifact in the UI says which stages ran.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import sender, server
from pipelines.support.dvc_runs import complaint, lines
from pipelines.support.graph import Graph
from pipelines.support.program import answering
from srfoundry.config import params as params_file
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.tracking.stores import first_line

if TYPE_CHECKING:
    from prefect import Flow


def build(root: Path) -> "Flow[..., dict[str, str]]":
    """The flow `factory`: one task a stage, side by side where they need nothing of each other."""
    from httpx import HTTPError
    from prefect import flow, get_run_logger
    from prefect.artifacts import create_table_artifact

    from pipelines.support import stage_tasks
    from pipelines.support.dvc_runs import alone
    from pipelines.support.remote import pull_inputs, push
    from pipelines.support.run_values import under

    @flow(name="factory", persist_result=False, task_runner=stage_tasks.runner())
    def factory(
        stages: list[str] | None = None,
        values: dict[str, Any] | None = None,
        remote: bool = False,
        retries: int = 0,
        jobs: int | None = 1,
        registration: bool | None = None,
    ) -> dict[str, str]:
        """Bring stages up to date.

        Args:
            stages: names as in dvc.yaml, such as dual or compress@50; all if not given. Those above them come along.
            values: this run's, by name, such as {"dual.steps": 20000}; params.yaml is as before afterwards.
            remote: take from DVC's remote what is there instead of computing it, and push all results to it.
            retries: times a stage whose process was killed goes on from its last checkpoint.
            jobs: stages at a time here; as many as shared.threads leaves cores for if not given.
            registration: of the models that `export` makes; if not given, where the run has no values of its own.
        """
        logging.raiseExceptions = False  # a line for each part of the log that a server misses
        with alone(root), under(values or {}, root):
            params = params_file.load(root / "params.yaml")
            registers = registration if registration is not None else not values
            how = stage_tasks.How(root, remote=remote, retries=retries, jobs=jobs, register=registers)
            say = stage_tasks.speaker()
            if remote:
                pull_inputs(root, say)
            what = stage_tasks.reproduce(how, params, _wanted(Graph(root), stages))
            left = [_left(push, root, say)] if remote else []
            if registers and "export" in what:
                left.append(_left(_register, root, say))
        if sender.boxes(root):
            sender.start(root)
        rows = [{"stage": stage, "what": done} for stage, done in what.items()]
        with suppress(HTTPError):  # where Prefect is away, nothing is left to be done without it
            create_table_artifact(key="factory", table=rows, description="What the last run did to each stage")
        get_run_logger().info(_table(what))
        if missing := [each for each in left if each]:
            raise FoundryError(f"all stages are up to date, but {'; and '.join(missing)}")
        return what

    return factory


def _left(step: Callable[[Path, Callable[[str], None]], None], root: Path, say: Callable[[str], None]) -> str:
    """Why a step after the stages failed; empty where it did not."""
    try:
        step(root, say)
    except FoundryError as error:
        return str(error)
    return ""


def _register(root: Path, say: Callable[[str], None]) -> None:
    """Register what no earlier run could.

    Raises:
        FoundryError: the registry does not take it.
    """
    said: list[str] = []
    command = [sys.executable, "-m", "srfoundry.cli.program", "register", "--new"]
    for line, code in lines(command, root, dict(os.environ)):
        if code:
            raise FoundryError(
                f"models are not registered: {complaint(said)}; the next run or srfoundry register does it"
            )
        if code is None:
            said.append(line)
            say(line)


def _wanted(graph: Graph, stages: Sequence[str] | None) -> list[str]:
    """Stages by name with all above them, in running order; all where none are named."""
    order = graph.order()
    if unknown := set(stages or []) - set(order):
        raise FoundryError(f"no stage {', '.join(sorted(unknown))} in dvc.yaml; choose from {', '.join(order)}")
    wanted = {each for name in stages or order for each in (*graph.ancestors(name), name)}
    return [name for name in order if name in wanted]


def main() -> None:
    """Run or serve the factory."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.factory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=["run", "serve"], default="run")
    parser.add_argument("--cron", help="when to start runs by itself: minute hour day month weekday")
    options = parser.parse_args()
    root = Path.cwd()
    with answering(terminated=False):
        server.prepare_environment(root)
        params_file.load(root / "params.yaml")
        own = not os.environ.get("PREFECT_API_URL")
        server.ensure_prefect(root)
        if options.action == "run":
            sys.stdout.write(_table(build(root)()) + "\n")
        else:
            _serve(options.cron, own=own)


def _serve(cron: str | None, *, own: bool) -> None:
    from httpx import HTTPError

    from pipelines.support.factory import factory  # the module's own flow, which the runner finds again by its file
    from pipelines.support.waiting import Waiting, say

    address = redacted(os.environ["PREFECT_API_URL"].removesuffix("/api"))
    waiting = Waiting(Path.cwd(), own=own)
    try:
        waiting.add_flow(factory, name="factory", cron=cron)
    except HTTPError as error:
        raise FoundryError(f"Prefect at {address} does not answer: {first_line(error)}; see PREFECT_API_URL") from None
    say(f"factory/factory waits at {address}/deployments" + (f", cron {cron}" if cron else ""))
    say("scheduled runs start while this command lives; end it with Ctrl-C")
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(waiting.start())


def _table(what: Mapping[str, str]) -> str:
    return "\n".join(f"{stage:12s} {done}" for stage, done in what.items())


def __getattr__(name: str) -> Any:
    """`pipelines.support.factory:factory` is made when it is asked for; importing starts nothing."""
    if name == "factory":
        server.prepare_environment(Path.cwd())
        return build(Path.cwd())
    raise AttributeError(name)


if __name__ == "__main__":
    main()
