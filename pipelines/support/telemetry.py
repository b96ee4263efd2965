"""A stage's telemetry: what it is and how it goes, written where the sender finds it. Nothing here can change a result,
nor fail or hold up the stage.
"""

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import sender
from pipelines.support.graph import folder_of, section_of
from pipelines.support.place import Place
from pipelines.support.prefect_reports import process_tag
from pipelines.support.processes import identity
from pipelines.support.program import say
from srfoundry.config.params import Params
from srfoundry.core.errors import refusal
from srfoundry.core.urls import hidden
from srfoundry.tracking import stores

if TYPE_CHECKING:
    from srfoundry.tracking.spool import Box, StageRun

CODE = ("src", "pipelines", "params.yaml", "dvc.yaml", "pyproject.toml", "requirements.lock")
REMOTE, LOCAL = 5.0, 30.0  # seconds that the end of a stage waits: for a server, which may hang, and for a database


@contextmanager
def tracked(name: str, place: Place, params: Params, *, key: str, digests: Mapping[str, str]) -> Iterator["StageRun"]:
    """Open the stage's box of events, and close it as the stage ends, with the cause where it failed."""
    from srfoundry.tracking.spool import StageRun

    folder = place.root / sender.FOLDER / f"{time.time_ns():020d}-{re.sub('[^a-z0-9_]', '-', name)}-{os.getpid()}"
    run = StageRun(folder, opening(name, place, params, key=key, digests=digests))
    sender.start(place.root)
    status, cause = "FAILED", ""
    try:
        yield run
        status = "FINISHED"
    except Exception as error:
        cause = f"{name}: {str(error) or type(error).__name__}"[:500]
        raise
    except BaseException as error:
        status, cause = "KILLED", f"{name}: {type(error).__name__}"
        raise
    finally:
        run.close(status, cause)
        if status != "KILLED":  # who interrupts does not wait
            _deliver(place.root, run.box)


def _deliver(root: Path, box: "Box") -> None:
    """Wait a moment for what a stage has reported to be taken."""
    own = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("sqlite:")
    try:
        sender.wait(root, box, {"mlflow": LOCAL if own else REMOTE, "prefect": REMOTE})
    except OSError as error:  # of the folder that it waits in; the stage is done all the same
        say(f"telemetry waits in {box.folder}: {refusal(error) or error}")


def opening(name: str, place: Place, params: Params, *, key: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """What goes to MLflow and Prefect of a stage as it starts."""
    root, who = place.root, identity(os.getpid())
    common = git_state(root)
    uri, factory = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("SRFOUNDRY_FACTORY_RUN")
    whole = place.values.read_bytes() if place.values.exists() else b""
    graph = place.graph(name)
    return {
        "stage": name,
        "mlflow": "" if uri == stores.own(root) else uri,  # its own is found again where the project has moved
        "prefect": os.environ.get("PREFECT_API_URL", ""),
        "host": platform.node(),
        "process": who,
        "labels": [process_tag(who), *([f"factory:{factory}"] if factory else [])],
        "pipeline": blake2b(whole + common["git.commit"].encode(), digest_size=8).hexdigest(),
        "key": key,
        "params": shown(params, name),
        "common": common,
        "tags": {
            **common,
            **{f"dvc.dep.{path}": md5 for path, md5 in digests.items()},
            "params.hash": graph.params_hash(name, params),
            "process.host": f"{platform.node()}:{place.folder}",
            **({"params.file": place.values.name} if place.trial else {}),
        },
        "above": [
            {
                "stage": other,
                "results": str(place.folder / "results" / folder_of(other)),
                "params": shown(params, other),
                "tags": {"params.hash": graph.params_hash(other, params)},
            }
            for other in graph.ancestors(name)
        ],
    }


def shown(params: Params, name: str) -> dict[str, Any]:
    """The values that a stage reads, as people see them in Prefect and MLflow."""
    whole = hidden(params.values())
    return {
        **{each: whole[each] for each in ("shared", "distributed")},
        section_of(name): whole.get(section_of(name), {}),
    }


def git_state(root: Path) -> dict[str, str]:
    """Commit (empty without git) and whether code or values differ from it, as tags."""

    def ask(*command: str) -> str:
        try:
            done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
        except OSError:  # it is not installed, or no process can be started: a tag is missing then
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = ask("rev-parse", "HEAD")
    return {"git.commit": commit, "git.dirty": str(bool(ask("status", "--porcelain", "--", *CODE))).lower()}
