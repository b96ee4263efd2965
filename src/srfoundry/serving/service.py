"""All that a server is made of, put together: models, what runs their tiles, the queue, the figures."""

import asyncio
import ctypes
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import TracebackType

from fastapi import FastAPI, Request

from srfoundry.core.errors import is_out_of_room
from srfoundry.serving import images, problems
from srfoundry.serving.batching import Batcher
from srfoundry.serving.following import Follower
from srfoundry.serving.images import Upload
from srfoundry.serving.jobs import Cancelled, Job, Store
from srfoundry.serving.lines import Line, Work
from srfoundry.serving.members import Family
from srfoundry.serving.metrics import Metrics
from srfoundry.serving.problems import Problem
from srfoundry.serving.restoring import Restorers, Wish
from srfoundry.serving.settings import Serving
from srfoundry.serving.sources import source
from srfoundry.serving.upscaling import Enlargement

LOG = logging.getLogger("srfoundry.serving")
BESIDE = 2  # photographs that are decoded or encoded while others' tiles run, besides one a thread
READERS = 2  # threads that look at headers
UPLOADS = 2  # bodies that are received at once, for each place in the queue
RESTORING = 60.0  # seconds for a megapixel, roughly
RESTING = 2.0  # seconds between two looks whether the server rests
FETCHING = 5.0  # seconds that a stopping server keeps a result for a client that waits for it


class Service:
    """A server without its HTTP. Enter it to load the models; leaving it ends all work.

    Args:
        serving: what a person decided.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving, self.limits = serving, serving.limits
        self.family = Family()
        self.metrics = Metrics(self.family)
        self.follower = Follower(
            source(serving.models),
            self.family,
            threads=serving.threads,
            device=serving.device,
            refused=lambda name: self.metrics.refused.labels(name).inc(),
            failed=self.metrics.polls.inc,
        )
        self.stopping = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._receiving = 0
        self._worked = False

    def __enter__(self) -> "Service":
        self.follower.begin()
        self.batcher = Batcher(self.serving.threads, self.metrics.ran)
        self.readers = ThreadPoolExecutor(READERS, thread_name_prefix="header")
        self.store = Store(self.limits)
        self.line = Line(
            self.serving.threads + BESIDE,
            self.limits,
            patience=self.limits.waiting,
            seconds=self._seconds,
            drop=self.batcher.drop,
        )
        serving = self.serving
        self.restorers = Restorers(serving.project, threads=serving.threads, device=serving.device)
        patience = self.limits.seconds  # one restoration alone takes a minute a megapixel
        self.slow_line = Line(1, self.limits, patience=patience, seconds=lambda: RESTORING, drop=lambda job: None)
        for gauge, count in (
            (self.metrics.waiting, lambda: sum(len(line.waiting) for line in self.lines())),
            (self.metrics.running, lambda: sum(len(line.running) for line in self.lines())),
            (self.metrics.waiting_tiles, lambda: self.batcher.waiting),
        ):
            self.metrics.watch(gauge, count)
        self.follower.follow(self.serving.polling)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.follower.close()
        self.batcher.close()
        self.readers.shutdown()
        self.store.close()

    @asynccontextmanager
    async def lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        """What lives in the event loop."""
        self.loop = asyncio.get_running_loop()
        works = {"the removal of old results": self.store.sweep(), "the return of memory": self._rest()}
        tidying = [self.loop.create_task(work, name=name) for name, work in works.items()]
        for task in tidying:
            task.add_done_callback(_say_why)
        try:
            yield
        finally:
            for task in tidying:
                task.cancel()
            await asyncio.to_thread(self.batcher.close)
            for line in self.lines():
                await line.close()

    async def finish(self) -> None:
        """Take nothing new; return when all that was taken is done, and fetched by those who wait for it."""
        self.stopping = True
        began = time.monotonic()
        for line in self.lines():
            await line.quiet()
        until = time.monotonic() + FETCHING
        while time.monotonic() < until and any(job.ended > began and not job.fetched for job in self.store.jobs()):
            await asyncio.sleep(0.1)

    async def receive(self, request: Request, line: Line) -> Upload:
        """Take a request's photograph, if there is room for it.

        Raises:
            Problem: there is none, in the queue or on the disk, or the photograph is not fit.
        """
        if self.stopping:
            raise Problem(503, "Stopping", "the server is about to stop; ask another, or again later", "stopping")
        line.check_room()
        if self._receiving >= UPLOADS * (self.limits.queue + line.workers):
            after = str(line.wait_seconds())
            raise Problem(
                429, "Too many photographs", "too many are being sent; try again later", "queue", {"Retry-After": after}
            )
        folder = None
        self._receiving += 1
        try:
            folder = self.store.place()
            upload = await images.receive(request, folder, self.limits, self.readers)
        except BaseException as error:
            if folder is not None:
                self.store.remove(folder)
            if is_out_of_room(error):
                problem = problems.of(error)
                problem.headers["Connection"] = "close"  # the rest of the body is not read
                raise problem from None
            raise
        finally:
            self._receiving -= 1
        self.metrics.bytes.labels("in").inc(upload.size)
        return upload

    def start(self, line: Line, job: Job, work: Work) -> Job:
        """Put a job into a queue and let it be found."""

        def timed(job: Job) -> None:
            try:
                with self.metrics.work.labels(job.model).time():
                    work(job)
            except Cancelled:
                if job.reason is not None:
                    self.metrics.failed(job.reason.kind)
                raise
            except Exception as error:
                problem = problems.of(error)
                self.metrics.failed(problem.kind)
                if problem.status == 500:
                    LOG.exception("a photograph failed")
                raise
            self.metrics.pixels.labels(job.model).inc(job.pixels)

        try:
            line.submit(job, timed)
        except Problem:
            self.store.remove(job.folder)
            raise
        self.store.add(job)
        self._worked = True
        return job

    def enlarge(self, wish: Enlargement) -> Job:
        """Begin to enlarge a photograph."""
        job = Job(
            wish.upload.path.parent,
            pixels=wish.upload.height * wish.upload.width,
            tiles=wish.tiles(),
            model=wish.member.name,
        )
        return self.start(self.line, job, lambda job: wish.run(job, self.batcher))

    def restore(self, wish: Wish) -> Job:
        """Begin to restore a photograph, or to find its kernel."""
        pixels = wish.upload.height * wish.upload.width
        job = Job(wish.upload.path.parent, pixels=pixels, tiles=1, model=wish.what)
        return self.start(self.slow_line, job, lambda job: wish.run(job, self.restorers))

    def lines(self) -> list[Line]:
        """All queues."""
        return [self.line, self.slow_line]

    async def _rest(self) -> None:
        """Whenever the server comes to rest, hand memory back that the C library keeps for the next photograph."""
        while True:
            await asyncio.sleep(RESTING)
            busy = any(line.waiting or line.running for line in self.lines())
            if self._worked and not busy:
                self._worked = False
                await asyncio.to_thread(_trim)

    def _seconds(self) -> float:
        return max(member.loaded.seconds for member in self.family.members())


def _say_why(task: "asyncio.Task[None]") -> None:
    """Log what ended a task that runs as long as the server: nobody awaits it."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        LOG.error("%s has ended; restart the server", task.get_name(), exc_info=error)


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)
