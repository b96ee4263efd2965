"""What stands before the application: who may call it, how long it waits for slow readers, and what browsers may do.

A web page elsewhere can make a browser send requests to a server on this machine, also under a host name of its own
that it lets point here (DNS rebinding). Requests are therefore answered only for names that are known, and what
changes something only to this server's own page, unless another site was allowed (CORS).
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srfoundry.serving import problems
from srfoundry.serving.metrics import Metrics
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import Limits, Listening

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Guard:
    """The outermost layer of the application.

    Args:
        application: what is guarded.
        listening: who may call it.
        limits: how long a client may take to read.
        metrics: where answers are counted.
    """

    def __init__(self, application: ASGIApp, listening: Listening, limits: Limits, metrics: Metrics) -> None:
        self._application, self._limits, self._metrics = application, limits, metrics
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in listening.names)}
        self._origins = set(listening.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await self._sent(send, message)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                self._metrics.failed(problem.kind)
                await problems.answer(problem)(scope, receive, watched)
            else:
                await self._application(scope, receive, watched)
        except _Gone:
            status = status or 499
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            detail = f"this server does not answer for {host[:80]!r}; start it with --allow-host NAME"
            return Problem(421, "Another host", detail, "host")
        site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
        foreign = site in ("cross-site", "same-site") or (origin is not None and origin.partition("//")[2] != host)
        if scope["method"] in CHANGING and foreign and origin not in self._origins and "*" not in self._origins:
            detail = (
                f"a page of {(origin or 'another site')[:80]!r} may not call this server; start it with --cors ORIGIN"
            )
            return Problem(403, "Another site", detail, "site")
        return None

    def _known(self, host: str) -> bool:
        """Whether a Host header names this server: an address, which no site can be, or a name that is known."""
        if "*" in self._names or not host:  # HTTP/1.0 has none
            return True
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _sent(self, send: Callable[[Message], Awaitable[Any]], message: Message) -> None:
        """Send, but wait no longer than `grace` for a client that does not read."""
        try:
            await asyncio.wait_for(send(message), self._limits.grace)
        except TimeoutError:
            raise _Gone from None


class _Gone(Exception):
    """The client does not read its answer."""
