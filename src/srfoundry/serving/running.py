"""The server as a process: it listens, and it stops without breaking off what it has begun.

On SIGTERM it is no longer ready (/readyz says 503), takes no further photographs, finishes those that it has, and then
ends; a second signal ends it at once. Ctrl-C leaves no more than two seconds for all of that.
"""

import asyncio
import logging
import signal
import sys
import threading
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from srfoundry.core import parallel
from srfoundry.core.errors import FoundryError
from srfoundry.serving import problems
from srfoundry.serving.app import application
from srfoundry.serving.guarding import HEADERS
from srfoundry.serving.problems import Problem
from srfoundry.serving.service import Service
from srfoundry.serving.settings import Serving

HEAD = 16 * 1024  # bytes of a request's line and headers
INTERRUPTED = 0.7  # seconds after Ctrl-C in which photographs may be finished, and as many again in which all is closed
IDLE = 10.0  # seconds that a connection may take for them
LEVELS = {"srfoundry.serving": logging.INFO, "uvicorn.error": logging.ERROR, "python_multipart": logging.ERROR}
BACKLOG = 2048  # connections that wait to be accepted


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP, whose connections may not wait for ever before a request is whole (slow headers).

    What uvicorn refuses itself, before the application has it, is a problem like all that is refused.
    """

    _clock: asyncio.TimerHandle | None = None

    def __init__(self, *of: Any, **more: Any) -> None:
        super().__init__(*of, **more)
        self._most, self.limit_concurrency = self.limit_concurrency, None  # whose refusal would be plain text
        self._whole, self.app = self.app, self._admit

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, unless too many connections are open."""
        count = max(len(self.connections), len(self.tasks))
        if self._most is None or count <= self._most:
            await self._whole(scope, receive, send)
            return
        detail = f"the server takes {self._most} connections at a time, got {count}; try again later"
        headers = HEADERS | {"Connection": "close", "Retry-After": "5"}
        await problems.answer(Problem(503, "Too many connections", detail, headers=headers))(scope, receive, send)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, as uvicorn asks for while it handles h11's error, which says more than `msg`."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer has begun, and is cut off
            detail = f"the request is no HTTP/1.1: {str(sys.exception() or msg)[:80]}; mend it as RFC 9112 says"
            headers = HEADERS | {"Connection": "close"}
            made = problems.answer(Problem(400, "No HTTP request", detail, headers=headers))
            self._write(h11.Response(status_code=400, headers=made.raw_headers, reason=b"Bad Request"))
            self._write(h11.Data(data=bytes(made.body)))
            self._write(h11.EndOfMessage())
        self.transport.close()

    def _write(self, event: h11.Event) -> None:
        self.transport.write(self.conn.send(event) or b"")

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._wind()

    def data_received(self, data: bytes) -> None:
        """Stop it where the headers are whole; it does not start anew with every byte."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wind()
        else:
            self._unwind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._unwind()
        super().connection_lost(exc)

    def _wind(self) -> None:
        if self._clock is None:
            self._clock = self.loop.call_later(IDLE, self._cut)

    def _unwind(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _cut(self) -> None:
        self._clock = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class GracefulServer(uvicorn.Server):
    """uvicorn that lets the service finish first."""

    def __init__(self, config: uvicorn.Config, service: Service, seconds: float) -> None:
        super().__init__(config)
        self._service, self._seconds = service, seconds
        self._stopping: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the second time at once."""
        if self._stopping is not None or not self.started:
            self.should_exit = self.force_exit = True
            return
        if sig == signal.SIGINT:  # somebody waits at a terminal
            self._seconds = INTERRUPTED
            last = threading.Timer(2 * INTERRUPTED, self._leave)
            last.daemon = True
            last.start()
        loop = self._service.loop
        assert loop is not None
        loop.call_soon_threadsafe(self._begin_to_stop)

    def _leave(self) -> None:
        """End the process in the middle of whatever its threads do; no upload stays behind."""
        sys.stderr.write("some photographs were not finished\n")
        self._service.store.close()
        parallel.leave(128 + signal.SIGINT)

    def _begin_to_stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await asyncio.wait_for(self._service.finish(), self._seconds)
        except TimeoutError:
            sys.stderr.write(f"some photographs were not finished within {self._seconds:g} s\n")
        finally:
            self.should_exit = True


def serve(serving: Serving) -> int:
    """Listen until a signal comes; returns the exit status.

    Raises:
        FoundryError: no model can be served, or the port is taken.
    """
    service = Service(serving)
    listening = serving.listening
    config = uvicorn.Config(
        application(service),
        host=listening.host,
        port=listening.port,
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=serving.limits.connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=HEAD,
    )
    _log()
    listener = _listener(config)
    with listener, service:
        host, port = listener.getsockname()[:2]
        listener.listen(BACKLOG)  # from the line on, whoever connects is answered
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(
            f"srfoundry serves {service.follower.source.shown}: http://{shown}:{port}/  (the page; /docs)\n"
        )
        sys.stdout.flush()
        server = GracefulServer(config, service, listening.stopping)
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        server.run(sockets=[listener])
        for each, handler in before.items():
            signal.signal(each, handler)
    return 0


def _listener(config: uvicorn.Config) -> Any:
    """The socket, bound before models are loaded, so that a port that is taken is said at once."""
    import socket

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # so that asyncio does not delay packets
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        place = f"{config.host}:{config.port}"
        raise FoundryError(f"cannot listen at {place}: {error.strerror}; name another with --host and --port") from None
    return listener


def _log() -> None:
    """One line an event, to standard error; of libraries only errors, for hostile requests are no news."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
