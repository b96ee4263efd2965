"""The whole graph as one Prefect deployment, in which DVC alone decides what is stale.

    python -m pipelines.support.factory run                       one run now, as a Prefect flow
    python -m pipelines.support.factory serve                     wait for the Run button of the Prefect UI
    python -m pipelines.support.factory serve --cron "0 3 * * *"  and run every night at three

Scheduled runs start only while `serve` lives. A table artifact in the UI says which stages ran.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import server
from pipelines.support.graph import ALWAYS, Graph
from srfoundry.config import params as params_file
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from prefect import Flow

BARS = 30.0  # seconds between two logged states of a progress bar
DVC = (  # DVC, in a process that ends with this one
    "from pipelines.support.processes import die_with_parent; die_with_parent(); "
    "from dvc.cli import main; raise SystemExit(main())"
)


def stale(root: Path) -> list[str]:
    """Stages that `dvc status` finds changed, but for the one that always runs; empty means that nothing needs to."""
    done = subprocess.run(
        [sys.executable, "-c", DVC, "status", "--json", "dvc.yaml"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FoundryError(f"dvc status failed: {_last(done.stderr.splitlines())}")
    return [stage for stage in json.loads(done.stdout.strip().splitlines()[-1]) if stage != ALWAYS]


def lines(command: list[str], root: Path, environment: dict[str, str]) -> Generator[tuple[str, int | None]]:
    """Run a command and give each line as it comes, then ("", exit code); progress bars give one line now and then.

    The process ends with the iteration, also when that is broken off."""
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    barred = -BARS
    try:
        with TextIOWrapper(process.stdout, errors="replace", newline="") as said:  # "\r" ends a bar's line
            for line in said:
                if line.endswith("\r"):
                    if time.monotonic() - barred < BARS:
                        continue
                    barred = time.monotonic()
                if line.strip():
                    yield line.rstrip(), None
        yield "", process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def verdict(said: list[str]) -> str:
    """ran, restored or unchanged: what `dvc repro --single-item` did, from what it said."""
    if any(line.startswith("Running stage") for line in said):
        return "ran"
    return "restored" if any("is cached - skipping run" in line for line in said) else "unchanged"


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
        command = [sys.executable, "-c", DVC, "repro", "--single-item", stage]
        code = 0
        for line, ended in lines(command, root, environment):
            if ended is not None:
                code = ended
                continue
            said.append(line)
            logger.info(line)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        if code:
            raise FoundryError(f"stage {stage} failed: {_last(said)}")
        return verdict(said)

    @flow(name="factory", persist_result=False)
    def factory() -> dict[str, str]:
        """Bring every stage up to date."""
        params_file.load(root / "params.yaml")
        graph = Graph(root)
        what = dict.fromkeys(graph.order(), "unchanged")
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


def _last(said: list[str]) -> str:
    for line in reversed(said):
        if line.startswith("error: ") or line.startswith("ERROR: "):
            return line.split(": ", 1)[1]
    return said[-1] if said else "it said nothing"


def __getattr__(name: str) -> Any:
    """`pipelines.support.factory:factory` is made when it is asked for; importing starts nothing."""
    if name == "factory":
        server.prepare_environment(Path.cwd())
        return build(Path.cwd())
    raise AttributeError(name)


if __name__ == "__main__":
    main()
