"""Queues: jobs of one kind, first come, first served, as many at a time as threads and memory allow.

All of this is touched in the event loop's thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from srfoundry.serving.jobs import Cancelled, Job
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import MEGA, Limits

SMALL = MEGA  # pixels up to which a photograph starts beside a large one

Work = Callable[[Job], None]


class Line:
    """Jobs of one kind: first come, first served, some of them at a time.

    Args:
        workers: jobs that run side by side.
        limits: of the queue, of pixels in work, and of time.
        patience: seconds that a client waits for its photograph's turn.
        seconds: for a megapixel, to say when there is room again.
        drop: is called with a job that ends early, so that others forget it too.
    """

    def __init__(
        self,
        workers: int,
        limits: Limits,
        *,
        patience: float,
        seconds: Callable[[], float],
        drop: Callable[[Hashable], None],
    ) -> None:
        self.workers, self.limits, self.patience = workers, limits, patience
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
        """End a job: at once where it waits, at its next step where it runs; not one of another line."""
        if job.finished:
            return
        if job in self.running:
            job.stop(reason)
            self._drop(job)
            return
        left = deque(each for each in self.waiting if each[0] is not job)
        if len(left) == len(self.waiting):  # another line's, which alone knows whether it runs
            return
        self.waiting = left
        job.stop(reason)
        self._forget_upload(job)
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
        self._forget_upload(job)
        error = Cancelled() if future.cancelled() else future.exception()
        job.settle(error, {str(job.folder / name): f"the {name}" for name in ("photograph", "result")})
        self._start()
        self._rest()

    @staticmethod
    def _forget_upload(job: Job) -> None:
        """Remove its photograph: results alone are kept, and counted."""
        (job.folder / "photograph").unlink(missing_ok=True)

    def _rest(self) -> None:
        if not self.waiting and not self.running:
            self._idle.set()
