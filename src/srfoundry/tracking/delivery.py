"""Handing a box's events on to MLflow, as far as it takes them: what was taken is never sent again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.tracking.names import safe
from srfoundry.tracking.runs import Point, Tracker, refusable
from srfoundry.tracking.spool import PICTURES, Away, Box, Waits
from srfoundry.tracking.stores import ARTIFACTS, GONE, own, reached, settle


class MlflowRecipient:
    """MLflow as a recipient of boxes.

    Args:
        root: the project's folder, whose own store takes the boxes that name no other.
    """

    name = "mlflow"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trackers: dict[str, Tracker] = {}

    def address(self, opening: dict[str, Any]) -> str:
        """Where the events of a box with this opening go."""
        return str(opening.get("mlflow") or own(self._root))

    def deliver(self, box: Box) -> None:
        """Send what is new in the box.

        Raises:
            Away: MLflow does not take it now.
            Waits: it has everything but Prefect's half, the flow run's id, and Prefect is away.
        """
        state = box.state(self.name)
        opening = box.opening()
        if not opening:  # it was removed meanwhile
            return
        uri = self.address(opening)
        try:
            with reached(uri):
                self._deliver(box, state, uri)
        except FoundryError as error:
            self._trackers.pop(uri, None)
            raise Away(str(error)) from None

    def _deliver(self, box: Box, state: dict[str, Any], uri: str) -> None:
        tracker = self._tracker(uri)
        waiting: list[Point] = []
        for event, end in box.events(state["offset"]):
            if event["event"] == "points":
                waiting += [(name, value, moment, step) for name, value, moment, step in event["points"]]
            else:
                self._send(tracker, state, waiting)
                waiting = []
                self._handle(tracker, box, state, event)
            state["offset"] = end
            if event["event"] != "points":
                box.save(self.name, state)
        self._send(tracker, state, waiting)
        prefect = box.state("prefect")
        if prefect.get("run") and state.get("run") and not state.get("linked"):
            with refusable():
                tracker.client.set_tag(state["run"], "prefect.flow_run_id", prefect["run"])
            state["linked"] = True
        ended = bool(state.get("ended"))
        state["done"] = ended and bool(state.get("linked") or prefect["done"])
        box.save(self.name, state)
        reason = box.away("prefect")
        if ended and reason and not state["done"]:
            raise Waits(reason)

    def _send(self, tracker: Tracker, state: dict[str, Any], points: list[Point]) -> None:
        if points and state.get("run"):
            with _deleted(state):
                tracker.points(state["run"], points)

    def _handle(self, tracker: Tracker, box: Box, state: dict[str, Any], event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "open":
            self._open(tracker, state, event)
            return
        if kind == "close":
            state["ended"] = True
        if not state.get("run"):
            return
        with _deleted(state), refusable():
            if kind == "complete":
                tracker.complete(state["run"], event["rows"], event["time"])
            elif kind == "tag":
                tracker.client.set_tag(state["run"], safe(event["name"]), redacted(str(event["value"]))[:5000])
            elif kind == "picture":
                picture = box.folder / PICTURES / event["name"]
                if picture.is_file():
                    tracker.client.log_artifact(state["run"], str(picture), "pictures")
            elif kind == "close":
                found = {"stage": state["stage"], "error": event.get("error", ""), "moment": event["time"]}
                tracker.end(state["run"], state["parent"], event["status"], **found)

    def _open(self, tracker: Tracker, state: dict[str, Any], event: dict[str, Any]) -> None:
        """Find or make the run and its parent, and the runs of stages above that DVC restored."""
        state["stage"] = event["stage"]
        state["parent"] = tracker.parent(event["pipeline"], event["common"])
        state["run"] = tracker.stage(
            event["stage"],
            parent=state["parent"],
            key=event["key"],
            params=event["params"],
            tags=event["tags"],
            began=event["time"],
        )
        for above in event["above"]:  # those that DVC restored left no run under this parent
            tracker.mirror(
                above["stage"],
                parent=state["parent"],
                results=Path(above["results"]),
                params=above["params"],
                tags={**event["common"], **above.get("tags", {})},
            )

    def _tracker(self, uri: str) -> Tracker:
        if uri not in self._trackers:
            settle(uri, self._root)
            self._trackers[uri] = Tracker(uri, "srfoundry", self._root / ARTIFACTS)
        return self._trackers[uri]


@contextmanager
def _deleted(state: dict[str, Any]) -> Iterator[None]:
    """Forget a run that is no longer there."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != GONE:
            raise
        state["run"] = None  # somebody deleted it: what is left of it has nowhere to go
