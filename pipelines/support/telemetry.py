"""A stage's telemetry: its MLflow run, and the Prefect runs that nobody ended. Nothing here can change a result."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support.graph import folder_of, section_of
from pipelines.support.locks import locked
from pipelines.support.place import Place
from pipelines.support.processes import alive, identity
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from srfoundry.tracking.runs import StageRun

CODE = ("src", "pipelines", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")


@contextmanager
def tracked(
    name: str, place: Place, params: Params, *, key: str, digests: Mapping[str, str], flow_run_id: str
) -> Iterator["StageRun"]:
    """Open the stage's MLflow run, or go on with a killed one's, and close it as the stage ends."""
    from srfoundry.tracking.runs import Tracker

    root = place.root
    tags = {
        **git_state(root),
        **{f"dvc.dep.{path}": md5 for path, md5 in digests.items()},
        "params.hash": params.section_hash(section_of(name)),
        "prefect.flow_run_id": flow_run_id,
        "process.host": f"{platform.node()}:{place.folder}",
        **({"params.file": place.values.name} if place.trial else {}),
    }
    whole = place.values.read_bytes() if place.values.exists() else b""
    pipeline = blake2b(whole + tags["git.commit"].encode(), digest_size=8).hexdigest()
    common = {name: tags[name] for name in ("git.commit", "git.dirty")}
    with locked(root / ".ckpt" / "mlflow.lock"):
        tracker = Tracker(os.environ["MLFLOW_TRACKING_URI"], "srfoundry", root / "mlartifacts")
        parent = tracker.parent(pipeline, common)
        run = tracker.stage(name, parent=parent, key=key, params=shown(params, name), tags=tags)
        for other in place.graph(name).ancestors(name):  # those that DVC restored left no run under this parent
            results = place.folder / "results" / folder_of(other)
            tracker.mirror(other, parent=parent, results=results, params=shown(params, other), tags=common)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except FoundryError as error:
        run.tag("error", str(error)[:500])
        raise
    finally:
        if sys.exc_info()[0] is not None and not isinstance(sys.exc_info()[1], Exception):
            status = "KILLED"
        run.close(status)


def shown(params: Params, name: str) -> dict[str, Any]:
    """The values that a stage reads, as people see them in Prefect and MLflow."""
    whole = params.values()
    return {"shared": whole["shared"], section_of(name): whole.get(section_of(name), {})}


def process_tag() -> str:
    """The Prefect tag by which `mark_dead_runs` finds this process: on this host, in this boot."""
    return f"process:{platform.node()}/{identity(os.getpid())}"


def mark_dead_runs() -> int:
    """Set Prefect runs whose process was killed to Crashed (nobody else would); return how many there were."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    count = 0
    here = f"process:{platform.node()}/"  # of other hosts nothing is known
    running = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    try:
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=running))):
                marks = [tag.removeprefix(here) for tag in run.tags if tag.startswith(here)]
                if marks and not alive(marks[0]):
                    client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
                    count += 1
    except (HTTPError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        address = os.environ.get("PREFECT_API_URL")
        raise FoundryError(
            f"Prefect at {address} does not answer: {reason}; unset PREFECT_API_URL or mend it"
        ) from None
    return count


def git_state(root: Path) -> dict[str, str]:
    """Commit (empty without git) and whether code or values differ from it, as tags."""

    def ask(*command: str) -> str:
        try:
            done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return {"git.commit": commit, "git.dirty": str(bool(ask("status", "--porcelain", "--", *CODE))).lower()}
