"""Stages as flow runs in Prefect, reported from beside them: no stage runs inside Prefect's engine or waits for it."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import server
from pipelines.support.processes import alive
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.tracking.spool import Away, Box
from srfoundry.tracking.stores import first_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TIMEOUT = 5.0  # seconds an answer may take
STATES = {"FINISHED": "COMPLETED", "FAILED": "FAILED", "KILLED": "CRASHED"}
MARK = f"process:{platform.node()}/"  # of the tag that says which process a run is; of other hosts nothing is known


class PrefectRecipient:
    """Prefect as a recipient of boxes: a flow run a box, RUNNING and then what became of it.

    Args:
        root: the project's folder, whose own server takes the boxes that name no other.
    """

    name = "prefect"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._swept: set[str] = set()

    def address(self, opening: dict[str, Any]) -> str:
        """Where the events of a box with this opening go."""
        return str(opening.get("prefect") or "the project's own server")

    def deliver(self, box: Box) -> None:
        """Report what is new in the box.

        Raises:
            Away: Prefect does not take it now.
        """
        from httpx import HTTPError

        opening = box.opening()
        if not opening:  # it was removed meanwhile
            return
        try:
            url = opening.get("prefect") or f"{server.PREFECT.ensure(self._root)}/api"
            with client(url) as reached:
                self._deliver(box, reached.request)
                if url not in self._swept:
                    self._swept.add(url)
                    mark_dead_runs(reached.request)
        except FoundryError as error:
            raise Away(str(error)) from None
        except (HTTPError, RuntimeError, ValueError, OSError) as error:
            address = redacted(self.address(opening))
            raise Away(f"Prefect at {address} does not answer: {first_line(error)}; see PREFECT_API_URL") from None

    def _deliver(self, box: Box, request: Callable[..., Any]) -> None:
        state = box.state(self.name)
        for event, end in box.events(state["offset"]):
            if event["event"] == "open":
                state["run"] = _start(request, box.folder.name, event)
            elif event["event"] == "close":
                if state.get("run"):
                    _set(request, state["run"], STATES[event["status"]], str(event.get("error", "")))
                state["done"] = True
            elif event["event"] == "picture" and event["name"].endswith(".html") and state.get("run"):
                request("POST", "/artifacts/", json=_link(box, event["name"], state["run"]))
            state["offset"] = end
            if event["event"] in ("open", "close"):
                box.save(self.name, state)
        box.save(self.name, state)


def client(url: str) -> "SyncPrefectClient":
    """Prefect's client for an API, with the user's own credentials and a short patience."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY

    return SyncPrefectClient(
        url,
        api_key=PREFECT_API_KEY.value(),
        auth_string=PREFECT_API_AUTH_STRING.value(),
        httpx_settings={"timeout": TIMEOUT},
    )


def mark_dead_runs(request: Callable[..., Any]) -> int:
    """Set runs whose process was killed to Crashed (nobody else would); return how many there were."""
    running = {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}
    count = 0
    for run in request("POST", "/flow_runs/filter", json={"flow_runs": running}).json():
        marks = [tag.removeprefix(MARK) for tag in run["tags"] if tag.startswith(MARK)]
        if marks and not alive(marks[0]):
            _set(request, run["id"], "CRASHED", "its process was killed")
            count += 1
    return count


def _start(request: Callable[..., Any], key: str, event: dict[str, Any]) -> str:
    """Make the flow run, once however often it is asked for, and set it to RUNNING."""
    flow = request("POST", "/flows/", json={"name": event["stage"]}).json()["id"]
    made = {
        "flow_id": flow,
        "parameters": event["params"],
        "tags": event["labels"],
        "idempotency_key": key,
        "state": {"type": "PENDING"},
    }
    run = str(request("POST", "/flow_runs/", json=made).json()["id"])
    _set(request, run, "RUNNING", "")
    return run


def _link(box: Box, name: str, run: str) -> dict[str, Any]:
    """Where a page that a run wrote is, as Prefect shows it beside the run."""
    opening = box.opening()
    kept = redacted(str(opening.get("mlflow") or "the project's own MLflow"))
    text = (
        f"`results/{name}` on {opening.get('host', '')}; in MLflow ({kept}) run *{opening['stage']}*, pictures/{name}"
    )
    return {"key": "report", "type": "markdown", "description": name, "data": text, "flow_run_id": run}


def _set(request: Callable[..., Any], run: str, kind: str, message: str) -> None:
    state = {"type": kind, "name": kind.capitalize(), "message": message[:500] or None}
    request("POST", f"/flow_runs/{run}/set_state", json={"state": state, "force": True})


def process_tag(who: str) -> str:
    """The tag by which `mark_dead_runs` finds a process: on this host, in this boot."""
    return f"{MARK}{who}"


def prepare() -> None:
    """Set what Prefect's client reads at its import: no retries, for whoever asks tries again anyway."""
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "0")
