"""Work on photographs, beside the event loop: waiting, running, reported step by step, cancelled, kept for a while.

All of this is touched in the event loop's thread, but for what a job notes of its steps.
"""

import asyncio
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srfoundry.serving import leftovers, problems
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import Limits

State = Literal["queued", "running", "done", "failed", "cancelled"]
BREATH = 15.0  # seconds of silence after which a watcher is given the same again, so that proxies stay
SWEEP = 2.0  # seconds between two looks for results that are too old


class Cancelled(Exception):
    """The job was cancelled, or took too long."""


@dataclass(frozen=True)
class Result:
    """A finished file."""

    path: Path
    media: str


class Job:
    """One photograph's way through the server.

    Args:
        folder: of its files; removed with it.
        pixels: of the photograph.
        tiles: or steps, that it will take.
    """

    def __init__(self, folder: Path, *, pixels: int, tiles: int, model: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.folder, self.pixels = folder, pixels
        self.state: State = "queued"
        self.title, self.done, self.tiles = "", 0, tiles
        self.model, self.version = model, ""
        self.error: Problem | None = None
        self.result: Result | None = None
        self.more: dict[str, Any] = {}
        self.fetched = False
        self.ended = 0.0
        self.reason: Problem | None = None  # for which it was stopped, if not by its client
        self._cancelled = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    def size(self) -> int:
        """Bytes of its result; none where there is no file, or where somebody else removed it."""
        try:
            return 0 if self.result is None else self.result.path.stat().st_size
        except FileNotFoundError:
            return 0

    def as_json(self) -> dict[str, Any]:
        """What its client is given."""
        error = None if self.error is None else self.error.as_json()
        names = ("id", "state", "title", "done", "tiles", "model", "version")
        return {**{name: getattr(self, name) for name in names}, "error": error, **self.more}

    def tick(self, done: int, tiles: int, title: str = "") -> None:
        """Note a step, in the working thread.

        Raises:
            Cancelled: the work shall end here.
        """
        self.done, self.tiles, self.title = done, tiles, title
        self._told()
        if self._cancelled.is_set():
            raise Cancelled

    def begin(self, version: str) -> None:
        """Note in the working thread which version works."""
        self.version = version
        self._told()

    def stop(self, reason: Problem | None = None) -> None:
        """End it at its next step: cancelled, or failed with a reason."""
        if not self._cancelled.is_set():
            self.reason = reason
            self._cancelled.set()

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """What `as_json` gives, now and after each change, until it is finished."""
        while True:
            changed, last = self._changed, self.finished  # which may change while the watcher takes this one
            yield self.as_json()
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), BREATH)

    def settle(self, error: BaseException | None, hidden: dict[str, str]) -> None:
        """Note how it ended, in the event loop's thread."""
        self.ended = time.monotonic()
        if isinstance(error, Cancelled):
            self.error = self.reason
            self.state = "cancelled" if self.reason is None else "failed"
        elif error is not None:
            self.error, self.state = problems.of(error, hidden=hidden), "failed"
        else:
            self.state = "done"
        self.wake()

    def wake(self) -> None:
        """Let watchers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _told(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody watches
            self._loop.call_soon_threadsafe(self.wake)


class Store:
    """All jobs by their number, until their time is up; their files lie in one folder, which goes with the server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder, self._held = leftovers.claim()
        self._jobs: dict[str, Job] = {}

    def place(self) -> Path:
        """A folder for one photograph."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def add(self, job: Job) -> None:
        """Let it be found."""
        self._jobs[job.id] = job

    def find(self, number: str) -> Job:
        """The job of this number.

        Raises:
            Problem: there is none, or no longer.
        """
        if number not in self._jobs:
            minutes = round(self.limits.kept_seconds / 60)
            detail = f"no job {number[:40]!r} is here; results are kept for {minutes} minutes"
            raise Problem(404, "No such job", detail, "job")
        return self._jobs[number]

    def jobs(self) -> list[Job]:
        """All that are known."""
        return list(self._jobs.values())

    def discard(self, job: Job) -> None:
        """Forget a job and its files."""
        self._jobs.pop(job.id, None)
        self.remove(job.folder)

    def remove(self, folder: Path) -> None:
        """Remove a folder of `place`."""
        shutil.rmtree(folder, ignore_errors=True)

    async def sweep(self) -> None:
        """Forget what is too old, and the oldest where there is too much; runs as long as the server."""
        while True:
            await asyncio.sleep(SWEEP)
            ended = sorted((job for job in self._jobs.values() if job.finished), key=lambda job: job.ended)
            sizes = {job: job.size() for job in ended}
            total = sum(sizes.values())
            for job in ended:
                old = time.monotonic() - job.ended > self.limits.kept_seconds
                abandoned = job.fetched and job.result is None  # by a client that went away
                if old or abandoned or total > self.limits.kept_bytes:
                    total -= sizes[job]
                    self.discard(job)

    def close(self) -> None:
        """Remove all files."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()
