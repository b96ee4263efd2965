"""What a stage reports, as lines of a file: writing them needs no server, and nothing can be lost or wait.

A stage appends events to a box, a folder of its own; a process beside it (pipelines/support/sender.py) hands them on to
each recipient, MLflow for one, whenever that answers. The box is gone when all have everything. Imports no MLflow.
"""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srfoundry.core.atomic import write_bytes
from srfoundry.tracking.names import numbers

EVENTS, CLOSED, PICTURES = "events.jsonl", "closed", "pictures"


class Away(Exception):
    """A recipient does not answer, or not as it should; what is meant for it waits."""


class Waits(Away):
    """A recipient answers, but one box needs what another recipient has yet to give."""


def digest(path: Path) -> str:
    """md5 of a file, empty where there is none."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.exists() else ""


def milliseconds() -> int:
    """Now, as MLflow counts."""
    return int(time.time() * 1000)


class Box:
    """The events of one run of a stage, and how far each recipient has got with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._torn = False  # whether the last event was cut short: the next one starts a new line

    @property
    def closed(self) -> bool:
        """Whether no more events come."""
        return (self.folder / CLOSED).exists()

    def size(self) -> int:
        """Bytes of events so far; 0 where the box is gone."""
        try:
            return (self.folder / EVENTS).stat().st_size
        except OSError:
            return 0

    def opening(self) -> dict[str, Any]:
        """The first event, empty where it was never written: who runs what, where."""
        try:
            with (self.folder / EVENTS).open("rb") as file:
                event = json.loads(file.readline())
        except (OSError, ValueError):
            return {}
        return event if isinstance(event, dict) and event.get("event") == "open" else {}

    def events(self, offset: int) -> list[tuple[dict[str, Any], int]]:
        """The whole events from a place in the file on, each with the place where it ends.

        A line that a full disk cut short is no event.
        """
        try:
            with (self.folder / EVENTS).open("rb") as file:
                file.seek(offset)
                lines = file.read().split(b"\n")[:-1]
        except OSError:
            return []
        found: list[tuple[dict[str, Any], int]] = []
        for line in lines:
            offset += len(line) + 1
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append((event, offset))
        return found

    def add(self, event: str, **values: Any) -> bool:
        """Append an event; False where there is no room for it."""
        line = b"\n" * self._torn + json.dumps({"event": event, **values}, default=str).encode() + b"\n"
        try:
            file = os.open(self.folder / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._torn = os.write(file, line) != len(line)
            finally:
                os.close(file)
        except OSError:
            return False
        return not self._torn

    def state(self, recipient: str) -> dict[str, Any]:
        """How far a recipient has got: `offset`, `done`, and what it notes for itself."""
        try:
            return json.loads((self.folder / f"{recipient}.json").read_text())
        except (OSError, ValueError):
            return {"offset": 0, "done": False}

    def save(self, recipient: str, state: Mapping[str, Any]) -> None:
        """Note how far a recipient has got."""
        try:
            write_bytes(self.folder / f"{recipient}.json", json.dumps(state).encode())
        except OSError as error:
            raise Away(f"{self.folder}: {error.strerror}") from None

    def away(self, recipient: str) -> str:
        """Why a recipient did not take the events at the last try, empty where it did."""
        try:
            return (self.folder / f"{recipient}.away").read_text()
        except OSError:
            return ""

    def mark(self, recipient: str, reason: str) -> None:
        """Note why a recipient does not take the events; an empty reason: it does."""
        path = self.folder / f"{recipient}.away"
        try:
            if reason:
                path.write_text(reason)
            else:
                path.unlink(missing_ok=True)
        except OSError:  # a full disk: then nobody learns why
            return

    def close(self) -> None:
        """Say that no more events come."""
        try:
            (self.folder / CLOSED).touch()
        except OSError:
            return

    def remove(self) -> None:
        """Throw it away."""
        shutil.rmtree(self.folder, ignore_errors=True)


class StageRun:
    """One run of a stage as its function sees it: every call is a line in a file and returns at once.

    Args:
        folder: of the box; made here.
        opening: facts about the run, plain JSON.
    """

    def __init__(self, folder: Path, opening: Mapping[str, Any]) -> None:
        self.box = Box(folder)
        self._warned = False
        try:
            folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            self._warn(str(error.strerror))
        self._add("open", time=milliseconds(), **opening)

    @property
    def id(self) -> str | None:
        """Of the run in MLflow, None as long as MLflow has not answered."""
        return self.box.state("mlflow").get("run")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note one point of some curves."""
        self._add("points", points=[[name, float(value), milliseconds(), step] for name, value in values.items()])

    def complete(self, history: Sequence[Mapping[str, float]]) -> None:
        """Note a finished curve; of it arrives what never did, points from before a kill for example."""
        self._add("complete", time=milliseconds(), rows=[dict(row) for row in history])

    def metrics(self, values: Mapping[str, Any], file: Path) -> None:
        """Mirror final metrics: the numbers among `values`, and the md5 of the file that holds the truth."""
        now = milliseconds()
        self._add("points", points=[[name, value, now, 0] for name, value in numbers(values).items()])
        self.tag("results.md5", digest(file))

    def picture(self, path: Path) -> None:
        """Add a picture, or any small file, to the run; a copy is kept until it has arrived."""
        kept = self.box.folder / PICTURES / path.name
        try:
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, kept)
        except OSError as error:
            self._warn(str(error.strerror))
            return
        self._add("picture", name=path.name)

    def tag(self, name: str, value: str) -> None:
        """Set one tag."""
        self._add("tag", name=name, value=value)

    def close(self, status: str = "FINISHED", error: str = "") -> None:
        """End the run: FINISHED, FAILED or KILLED, with the cause where it was not finished."""
        self._add("close", time=milliseconds(), status=status, error=error)
        self.box.close()

    def _add(self, event: str, **values: Any) -> None:
        if not self.box.add(event, **values):
            self._warn("no room")

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"telemetry is not kept: {self.box.folder}: {reason}", stacklevel=3)
