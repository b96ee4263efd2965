"""Refusals over HTTP: problem details (RFC 9457) with what was wrong, what was got and what to do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from srfoundry.core.errors import FoundryError, is_out_of_memory, is_out_of_room

MEDIA = "application/problem+json"
ADVICE = {404: "GET /docs lists what there is", 405: "GET /docs lists the methods"}


@dataclass
class Problem(Exception):
    """A request that is refused, or that failed.

    Attributes:
        status: of HTTP.
        title: what kind of problem it is, the same for all of its kind.
        detail: this one: what, got, do.
        kind: of the errors' counter in /metrics.
        headers: of the answer.
    """

    status: int
    title: str
    detail: str
    kind: str = "refused"
    headers: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, str | int]:
        """The body of the answer."""
        return {"title": self.title, "detail": self.detail, "status": self.status}


def of(error: BaseException, *, hidden: dict[str, str] | None = None) -> Problem:
    """The problem that an error of the work is to its client.

    Args:
        error: a Problem stays one.
        hidden: what to say instead of the server's paths.
    """
    if isinstance(error, Problem):
        return error
    if is_out_of_room(error):
        detail = "The server's disk has no room for this photograph now; try again later."
        return Problem(503, "No room", detail, "room", {"Retry-After": "60"})
    text = str(error)
    for path, name in (hidden or {}).items():
        text = text.replace(path, name)
    if isinstance(error, FoundryError):
        return Problem(422, "The photograph cannot be used", text, "photograph")
    if is_out_of_memory(error):
        detail = "The server has too little memory for this photograph now; send a smaller one, or a smaller tile."
        return Problem(503, "Out of memory", detail, "memory", {"Retry-After": "5"})
    return Problem(500, "The server failed", f"{type(error).__name__}; its log says more.", "server")


def answer(problem: Problem) -> JSONResponse:
    """The problem as HTTP has it."""
    return JSONResponse(problem.as_json(), problem.status, problem.headers, MEDIA)


def install(application: FastAPI, note: Callable[[str], None]) -> None:
    """Let every refusal of the application be a problem.

    Args:
        application: whose refusals.
        note: is called with the kind of each.
    """

    async def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        detail = f"{request.method} {request.url.path}: {ADVICE.get(error.status_code, error.detail)}"
        phrase = HTTPStatus(error.status_code).phrase
        note("request")
        return answer(Problem(error.status_code, phrase, detail, headers=dict(error.headers or {})))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        note("request")
        first = error.errors()[0]
        place = " ".join(str(each) for each in first["loc"])
        got = str(first.get("input"))[:80]
        return answer(Problem(422, "A parameter is wrong", f"{place}: {first['msg']}, got {got!r}; see /docs"))

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        note(error.kind)
        return answer(error)

    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        note("server")
        return answer(Problem(500, "The server failed", "Its log says more.", "server"))  # uvicorn writes it there

    application.add_exception_handler(HTTPException, plain)
    application.add_exception_handler(RequestValidationError, invalid)
    application.add_exception_handler(Problem, refused)
    application.add_exception_handler(Exception, failed)
