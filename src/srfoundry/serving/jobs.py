"""Work on photographs, beside the event loop: waiting, running, reported step by step, cancelled, kept for a while.

All of this is touched in the event loop's thread, but for what a job tells of its steps.
"""

import asyncio
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from srfoundry.serving import problems
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import MEGA, Limits

State = Literal["queued", "running", "done", "failed", "cancelled"]
SMALL = MEGA  # pixels up to which a photograph starts beside a large one
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

    def told(self) -> dict[str, Any]:
        """What its client is given."""
        error = None if self.error is None else self.error.told()
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
        """What `told` says, now and after each change, until it is finished."""
        while True:
            changed = self._changed
            yield self.told()
            if self.finished:
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


Work = Callable[[Job], None]


class Line:
    """Jobs of one kind: first come, first served, some of them at a time.

    Args:
        workers: jobs that run side by side.
        limits: of the queue, of pixels in work, and of time.
        seconds: for a megapixel, to say when there is room again.
        drop: is called with a job that ends early, so that others forget it too.
    """

    def __init__(
        self, workers: int, limits: Limits, *, seconds: Callable[[], float], drop: Callable[[Hashable], None]
    ) -> None:
        self.workers, self.limits = workers, limits
        self.waiting: deque[tuple[Job, Work]] = deque()
        self.running: set[Job] = set()
        self._seconds, self._drop = seconds, drop
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="photograph")
        self._idle = asyncio.Event()
        self._idle.set()

    def check_room(self) -> None:
        """Refuse a further photograph where the queue is full.

        Raises:
            Problem: it is; says when to come again.
        """
        if len(self.waiting) < self.limits.queue:
            return
        after = self.wait_seconds()
        detail = f"{len(self.waiting)} photographs wait, {self.limits.queue} are the most; try again in {after} s."
        raise Problem(429, "Too many photographs", detail, "queue", {"Retry-After": str(after)})

    def wait_seconds(self) -> int:
        """Roughly, when a place in the queue is free."""
        pixels = [job.pixels for job, _ in self.waiting] + [job.pixels for job in self.running]
        each = sum(pixels) / max(len(pixels), 1) / MEGA * self._seconds()
        return max(1, min(600, round(each)))

    def submit(self, job: Job, work: Work) -> None:
        """Put a job in the queue; `check_room` before."""
        self.check_room()
        self.waiting.append((job, work))
        self._idle.clear()
        self._start()

    def cancel(self, job: Job, reason: Problem | None = None) -> None:
        """End a job: at once where it waits, at its next step where it runs."""
        if job.finished:
            return
        job.stop(reason)
        if job in self.running:
            self._drop(job)
            return
        self.waiting = deque(each for each in self.waiting if each[0] is not job)
        job.settle(Cancelled(), {})
        self._rest()

    async def quiet(self) -> None:
        """Wait until nothing waits or runs."""
        await self._idle.wait()

    async def close(self) -> None:
        """Cancel what waits and runs, and wait for the steps that are under way."""
        for job in [*(job for job, _ in self.waiting), *self.running]:
            self.cancel(job)
        await asyncio.to_thread(self._pool.shutdown)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting and len(self.running) < self.workers and self._fits(self.waiting[0][0]):
            job, work = self.waiting.popleft()
            self.running.add(job)
            job.state = "running"
            job.wake()
            late = loop.call_later(self.limits.seconds, self._late, job)
            future = loop.run_in_executor(self._pool, work, job)
            future.add_done_callback(partial(self._ended, job, late))

    def _fits(self, job: Job) -> bool:
        """Whether the pixels in work leave memory for it; a single one always fits, and small ones do not count."""
        large = sum(each.pixels for each in self.running if each.pixels > SMALL)
        return job.pixels <= SMALL or large == 0 or large + job.pixels <= self.limits.largest

    def _late(self, job: Job) -> None:
        detail = (
            f"the work took longer than {self.limits.seconds:g} s, which is the limit here; send a smaller photograph, "
            "or start the server with more --seconds"
        )
        self.cancel(job, Problem(503, "Out of time", detail, "time"))

    def _ended(self, job: Job, late: asyncio.TimerHandle, future: "asyncio.Future[None]") -> None:
        late.cancel()
        self.running.discard(job)
        (job.folder / "photograph").unlink(missing_ok=True)  # results alone are kept
        error = Cancelled() if future.cancelled() else future.exception()
        job.settle(error, {str(job.folder / name): f"the {name}" for name in ("photograph", "result")})
        self._start()
        self._rest()

    def _rest(self) -> None:
        if not self.waiting and not self.running:
            self._idle.set()


class Store:
    """All jobs by their number, until their time is up; their files lie in one folder, which goes with the server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = Path(tempfile.mkdtemp(prefix="srfoundry-serve-"))
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
            sizes = {job: job.result.path.stat().st_size if job.result else 0 for job in ended}
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
