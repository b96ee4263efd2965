"""Stages as tasks of a Prefect flow: here, or on the Dask cluster that SRFOUNDRY_DASK names; lost ones are run again.

On a cluster the stages that spread their own work over it (synthesize, estimate, evaluate) stay where the flow is, and
all others are tasks of its workers, which must have been started in the project's folder. DVC's locks let one stage's
DVC look and write down at a time, while the stages themselves run side by side.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import fan_out, forecast, remote, server, settings
from pipelines.support.dvc_runs import busy, complaint, killed, lines, single, stale, verdict
from pipelines.support.graph import ALWAYS, Graph
from pipelines.support.schedule import side_by_side
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted

if TYPE_CHECKING:
    from prefect import Task

SPREADING = ("synthesize", "estimate", "evaluate")  # these send their own items to the cluster
PAUSE = 5.0  # seconds before a stage that was killed goes on: what killed it may need room first

AWAY = set[str]()  # runs to which DVC's remote gave nothing: a second stage need not wait for it, too
WAITS = 12  # times that a stage waits so long for files that another DVC holds


class Busy(FoundryError):
    """Another DVC holds the stage's files: a person's, or that of a lost worker, which is about to end."""


class Killed(FoundryError):
    """A stage's process was ended from outside; from its last checkpoint it can go on."""


@dataclass(frozen=True)
class How:
    """How stages are brought up to date.

    Args:
        root: the project's folder.
        remote: whether DVC's remote gives what is already there.
        retries: times a stage that was killed is run again.
        jobs: stages at a time on this machine; as many as it has cores for if None.
        register: whether `export` registers what it makes.
    """

    root: Path
    remote: bool = False
    retries: int = 0
    jobs: int | None = 1
    register: bool = True


def runner() -> Any:
    """The flow's task runner: Dask's where the setting says so, Prefect's threads otherwise."""
    machine = settings.machine()
    if not machine.dask:
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner()
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=machine.dask)


def reproduce(how: How, params: Params, names: Sequence[str]) -> dict[str, str]:
    """Bring these stages up to date, within a Prefect flow; return ran, restored or unchanged for each.

    Raises:
        FoundryError: a stage failed; the others were stopped, and go on from their checkpoints next time.
    """
    from prefect.runtime import flow_run

    graph, stop, machine = Graph(how.root), threading.Event(), settings.machine()
    what = dict.fromkeys(names, "unchanged")
    here = partial(_task(how.retries), how=how, run=str(flow_run.id), stop=stop)
    if ALWAYS in what:  # it says what is installed, from which DVC finds what is stale
        what[ALWAYS] = here(ALWAYS)
    others = [name for name in names if name != ALWAYS]
    if not others or not stale(how.root):
        return what
    slots = fan_out.workers_at(machine.dask) if machine.dask else 0
    context = copy_context()

    def run(stage: str) -> str:
        if not slots or stage in SPREADING:
            return context.copy().run(here, stage)
        send = partial(_task(how.retries).submit, stage, how=how, run=str(flow_run.id), far=True)
        return fan_out.outcome(partial(context.copy().run, send), machine)

    parents = {name: [each for each in graph.parents(name) if each in others] for name in others}
    jobs = slots or how.jobs or forecast.jobs(params)
    what |= side_by_side(parents, run, jobs=jobs, seconds={}, stop=stop)
    return {name: what[name] for name in names}


def _task(retries: int) -> "Task[..., str]":
    """The task of one stage. Only a process that was killed is worth a second try: an error would come again."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    made = task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{stage}")(one)
    return made.with_options(retries=retries, retry_delay_seconds=PAUSE, retry_condition_fn=_was_killed)


def _was_killed(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Killed)


def one(stage: str, how: How, run: str, stop: threading.Event | None = None, far: bool = False) -> str:
    """Let DVC run, restore or skip one stage.

    Args:
        stage: as in dvc.yaml.
        how: where, and whether DVC's remote helps.
        run: the id of the flow's run, for the runs of the stages.
        stop: ends the stage when it is set.
        far: whether this is a worker of a cluster, which knows the project's settings from its .env alone.

    Raises:
        FoundryError: the stage failed.
    """
    if far:
        server.prepare_environment(how.root)
    environment = os.environ | {"SRFOUNDRY_FACTORY_RUN": run, "PYTHONUNBUFFERED": "1"}
    if not how.register:
        environment["SRFOUNDRY_REGISTRATION"] = "false"
    if far:
        environment.pop(fan_out.ADDRESS, None)  # its worker may not wait for items that wait for a worker
    for _ in range(WAITS):
        try:
            return _dvc(stage, how, environment, stop)
        except Busy:
            time.sleep(PAUSE)
    return _dvc(stage, how, environment, stop)


def _dvc(stage: str, how: How, environment: dict[str, str], stop: threading.Event | None) -> str:
    """What DVC did with one stage: ran, restored or unchanged. A remote that gives nothing is done without."""
    said: list[str] = []
    say, run = speaker(), environment["SRFOUNDRY_FACTORY_RUN"]
    pull = how.remote and run not in AWAY
    with closing(lines(single(stage, pull=pull), how.root, environment, stop=stop)) as output:
        for line, code in output:
            if stop is not None and stop.is_set():
                raise FoundryError(f"{stage} was stopped")
            if code and pull and remote.blamed(said):
                AWAY.add(run)
                say(f"{remote.reason(how.root, said)}; this run goes on without it")
                return _dvc(stage, how, environment, stop)
            if code:
                kind = Killed if killed(said) else Busy if busy(said) else FoundryError
                raise kind(f"stage {stage} failed: {complaint(said)}")
            if code is None:
                said.append(line)
                say(line)
    return verdict(said)


def speaker() -> Callable[[str], None]:
    """Say a line to Prefect's log, and to the person at the terminal."""
    from prefect import get_run_logger

    logger = get_run_logger()

    def say(line: str) -> None:
        line = redacted(line)  # DVC names its remote, with what is in its address
        logger.info(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    return say
