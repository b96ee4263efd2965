"""The process of `make serve`, which waits for runs and starts them: a server that goes away does not end it."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import Crashed

from pipelines.support import server
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.tracking.stores import first_line

LOST = "Prefect's server was away at its end; dvc status says what is left, and the next run does that"


class Waiting(Runner):
    """Prefect's runner, one run at a time; SIGTERM ends it just as Ctrl-C does.

    Prefect's own handler raises `SystemExit` from wherever the program happens to be. Python drops an exception that
    leaves a finalizer or a weak reference's callback, and with it the wish to end. Its loops end with the process
    where a server does not answer three times; here they ask again, and a run that the server has missed the end of
    is marked once it is back.

    Args:
        root: the project's folder.
        own: whether the server is the project's own, which is started again; else it is waited for.
    """

    def __init__(self, root: Path, *, own: bool) -> None:
        super().__init__(name="factory", limit=1, pause_on_shutdown=True)
        logging.raiseExceptions = False  # a line for each part of the log that a server misses
        self._root, self._own = root, own
        self._away = False
        self._begun: set[UUID] = set()

    async def start(self, run_once: bool = False, webserver: bool | None = None) -> None:
        """Wait for runs until Ctrl-C or SIGTERM."""
        self._until = asyncio.current_task()
        self._turn = asyncio.get_running_loop()
        await super().start(run_once, webserver)

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        """End as by Ctrl-C."""
        if self._until:
            self._turn.call_soon_threadsafe(self._until.cancel)

    async def __aenter__(self) -> "Waiting":
        """Have both loops, of runs to start and of runs to cancel, ask again and again."""
        await super().__aenter__()
        poller: Any = self._scheduled_run_poller
        observer: Any = self._cancelling_observer
        poller._get_and_submit_flow_runs = self._patient(poller._get_and_submit_flow_runs)
        observer._check_for_cancelled_flow_runs = self._patient(observer._check_for_cancelled_flow_runs)
        return self

    def _patient(self, ask: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def asked() -> None:
            try:
                await ask()
                await self._mark_lost()
            except HTTPError as error:
                await self._server_is_away(error)
            else:
                if self._away:
                    say("Prefect answers again")
                self._away = False

        return asked

    async def _server_is_away(self, error: HTTPError) -> None:
        if not self._away:
            address = redacted(str(self._client.api_url))
            say(f"Prefect at {address} does not answer ({_why(error)}); what runs goes on, other runs wait for it")
        self._away = True
        if self._own:
            try:
                await asyncio.to_thread(server.PREFECT.ensure, self._root)
            except FoundryError as refused:
                say(str(refused))

    async def _mark_lost(self) -> None:
        """Set runs that have ended without a word to Crashed: nobody else would."""
        now = set(self._scheduled_run_poller._submitting_flow_run_ids)
        for run in self._begun - now:
            try:
                found = await self._client.read_flow_run(run)
            except ObjectNotFound:
                continue
            if found.state_type in (StateType.PENDING, StateType.RUNNING):
                await self._client.set_flow_run_state(run, Crashed(message=LOST), force=True)
        self._begun = now

    async def _pause_schedules(self) -> None:
        try:
            await super()._pause_schedules()
        except HTTPError as error:
            say(f"the schedule stays active, Prefect does not answer ({_why(error)}); its runs wait for make serve")


def _why(error: HTTPError) -> str:
    return first_line(error).partition(" for url")[0]


def say(text: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
