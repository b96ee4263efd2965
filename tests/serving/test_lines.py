"""A job that is cancelled ends in its own queue: at once where it waits, at its next step where it runs."""

import asyncio
import threading
from pathlib import Path

import pytest

from srfoundry.serving.jobs import Cancelled, Job
from srfoundry.serving.lines import Line
from srfoundry.serving.settings import Limits


def line() -> Line:
    return Line(1, Limits(queue=2), patience=1.0, seconds=lambda: 1.0, drop=lambda job: None)


def job(folder: Path) -> Job:
    """One whose photograph lies in its folder."""
    folder.mkdir()
    (folder / "photograph").write_bytes(b"bytes")
    return Job(folder, pixels=1, tiles=1, model="pruned")


@pytest.mark.parametrize("own_first", [True, False])
def test_all_lines_may_be_asked_to_cancel_a_job(tmp_path: Path, own_first: bool) -> None:
    """As DELETE does: it does not know whose the job is."""

    async def cancelled() -> None:
        own, other, begun, done = line(), line(), list[Job](), threading.Event()

        def work(job: Job) -> None:
            begun.append(job)
            done.wait(60)
            job.tick(1, 1)

        running, waiting = job(tmp_path / "running"), job(tmp_path / "waiting")
        own.submit(running, work)
        own.submit(waiting, work)
        lines = [own, other] if own_first else [other, own]
        for each in (waiting, running):
            for asked in lines:
                asked.cancel(each)
        assert waiting.state == "cancelled" and not own.waiting and not (waiting.folder / "photograph").exists()
        assert running.state == "running" and own.running == {running} and not running.finished
        done.set()
        await asyncio.wait_for(own.quiet(), 60)
        assert running.state == "cancelled" and begun == [running]
        for each in lines:
            await each.close()

    asyncio.run(cancelled())


def test_a_job_of_another_line_is_left_alone(tmp_path: Path) -> None:
    async def left() -> None:
        foreign, asked = job(tmp_path / "foreign"), line()
        asked.cancel(foreign)
        assert foreign.state == "queued" and (foreign.folder / "photograph").exists()
        foreign.tick(0, 1)
        foreign.settle(Cancelled(), {})
        await asked.close()

    asyncio.run(left())
