"""The whole graph as one Prefect deployment, in which DVC alone decides what is stale.

    python -m pipelines.support.factory run                       one run now, as a Prefect flow
    python -m pipelines.support.factory serve                     wait for the Run button of the Prefect UI
    python -m pipelines.support.factory serve --cron "0 3 * * *"  and run every night at three

Scheduled runs start only while `serve` lives. A table artifact in the UI says which stages ran.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import server
from pipelines.support.dvc_runs import alone, complaint, lines, single, stale, verdict
from pipelines.support.graph import ALWAYS, Graph
from srfoundry.config import params as params_file
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from prefect import Flow


def build(root: Path) -> "Flow[..., dict[str, str]]":
    """The flow `factory`: one task a stage, in the order of dvc.yaml's graph, stopping at the first failure."""
    from prefect import flow, get_run_logger, task
    from prefect.artifacts import create_table_artifact
    from prefect.cache_policies import NO_CACHE
    from prefect.runtime import flow_run

    @task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{stage}")
    def reproduce(stage: str) -> str:
        """Let DVC run, restore or skip one stage."""
        logger = get_run_logger()
        said: list[str] = []
        environment = os.environ | {"SRFOUNDRY_FACTORY_RUN": str(flow_run.id), "PYTHONUNBUFFERED": "1"}
        code = 0
        for line, ended in lines(single(stage), root, environment):
            if ended is not None:
                code = ended
                continue
            said.append(line)
            logger.info(line)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        if code:
            raise FoundryError(f"stage {stage} failed: {complaint(said)}")
        return verdict(said)

    @flow(name="factory", persist_result=False)
    def factory() -> dict[str, str]:
        """Bring every stage up to date."""
        params_file.load(root / "params.yaml")
        graph = Graph(root)
        what = dict.fromkeys(graph.order(), "unchanged")
        with alone(root):
            if ALWAYS in what:  # it says what is installed, so that DVC knows what is stale
                what[ALWAYS] = reproduce(ALWAYS)
            if stale(root):
                for stage in [each for each in what if each != ALWAYS]:
                    what[stage] = reproduce(stage)
        rows = [{"stage": stage, "what": done} for stage, done in what.items()]
        create_table_artifact(key="factory", table=rows, description="What the last run did to each stage")
        get_run_logger().info(_table(what))
        return what

    return factory


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
    server.prepare_environment(root)
    try:
        params_file.load(root / "params.yaml")
        server.ensure_prefect(root)
        if options.action == "run":
            sys.stdout.write(_table(build(root)()) + "\n")
        else:
            _serve(options.cron)
    except FoundryError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from None


def _serve(cron: str | None) -> None:
    from pipelines.support.factory import factory  # the module's own flow, which the runner finds again by its file

    address = os.environ["PREFECT_API_URL"].removesuffix("/api")
    sys.stdout.write(f"factory/factory waits at {address}/deployments" + (f", cron {cron}" if cron else "") + "\n")
    sys.stdout.write("scheduled runs start while this command lives; end it with Ctrl-C\n")
    sys.stdout.flush()
    factory.serve(name="factory", cron=cron, limit=1, pause_on_shutdown=True, print_starting_message=False)


def _table(what: dict[str, str]) -> str:
    return "\n".join(f"{stage:12s} {done}" for stage, done in what.items())


def __getattr__(name: str) -> Any:
    """`pipelines.support.factory:factory` is made when it is asked for; importing starts nothing."""
    if name == "factory":
        server.prepare_environment(Path.cwd())
        return build(Path.cwd())
    raise AttributeError(name)


if __name__ == "__main__":
    main()
