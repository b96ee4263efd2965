"""What the server answers: photographs, jobs, models, and how it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from srfoundry.serving import images, problems
from srfoundry.serving.described import ANSWERS, PHOTOGRAPH, PICTURES, WHY, JobBody, ModelBody, why
from srfoundry.serving.jobs import Job
from srfoundry.serving.lines import Line
from srfoundry.serving.members import AUTO
from srfoundry.serving.problems import Problem
from srfoundry.serving.restoring import Decimation, What, Wish
from srfoundry.serving.service import Service
from srfoundry.serving.upscaling import FEWEST, MOST, Enlargement

Accept = Annotated[str | None, Header(description="image/png, image/jpeg, image/webp or */* (PNG), with q-values.")]
Wait = Annotated[bool, Query(description="false: answer at once with a job.")]
Reduced = Annotated[
    Decimation | None,
    Query(
        description="How it was made small, if you know: every s-th pixel kept, or antialiased. Else it is found out."
    ),
]


def router(service: Service) -> APIRouter:
    """All routes of a server."""
    made = APIRouter(dependencies=[Depends(_refuse_unknown)])

    @made.post(
        "/v1/upscale", responses=ANSWERS, openapi_extra=PHOTOGRAPH, response_class=Response, tags=["photographs"]
    )
    async def upscale(
        request: Request,
        model: Annotated[
            str | None, Query(description="A name of GET /v1/models; auto, or none: the one that fits the photograph.")
        ] = None,
        tile: Annotated[
            int | None, Query(ge=FEWEST, le=MOST, description="Side of the largest square that runs at once, pixels.")
        ] = None,
        wait: Wait = True,
        accept: Accept = None,
    ) -> Response:
        """Enlarge a photograph.

        Alpha, grey, colour profile, EXIF and resolution come back as `srfoundry upscale` keeps them; the pixels are
        the same. A client that goes away before its answer cancels the work.

            curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/upscale -H 'Accept: image/jpeg' -o photo_x2.jpg
        """
        member = service.family.find(model)
        photo = service.family.photo() if model in (None, "", AUTO) else None
        suffix = images.wanted(accept) if wait else images.wanted(_only_images(accept))
        try:
            upload = await service.receive(request, service.line)
        except ClientDisconnect:
            return Response(status_code=499)
        job = service.enlarge(Enlargement(upload, member, tile, suffix, service.limits.largest, photo))
        return await answered(service, service.line, job, request, wait=wait)

    @made.get("/v1/models", response_model=list[ModelBody], tags=["models"])
    async def models() -> list[dict[str, Any]]:
        """The family: who can be asked, which version is served, and what each member costs on this machine."""
        default = service.family.default
        return [member.described(default=member.name == default) for member in service.family.members()]

    _restoration(made, service)
    _jobs(made, service)
    _health(made, service)
    _answer_head(made)
    return made


async def _refuse_unknown(request: Request) -> None:
    """Refuse parameters that a route does not have: one that is misspelt would have no effect, and nobody notice."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.path.startswith("/v1/"):
        return  # what probes and browsers add to the other addresses harms nobody
    known = [each.alias for each in route.dependant.query_params]
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        taken = f"takes {', '.join(known)}" if known else "takes none"
        detail = f"{request.method} {route.path} {taken} in its query, got {unknown[:80]!r}; see /docs"
        raise Problem(422, "A parameter is unknown", detail, "request")


def _answer_head(made: APIRouter) -> None:
    """Let what answers GET answer HEAD, too: load balancers and `curl -I` ask so."""
    for route in [each for each in made.routes if isinstance(each, APIRoute) and "GET" in (each.methods or ())]:
        made.add_api_route(route.path, route.endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)


def _restoration(made: APIRouter, service: Service) -> None:
    more: Any = {"openapi_extra": PHOTOGRAPH, "tags": ["photographs"], "response_class": Response}

    async def begun(
        request: Request, what: What, suffix: str, decimation: Decimation | None, *, force: bool, wait: bool
    ) -> Response:
        service.restorers.check()
        try:
            upload = await service.receive(request, service.slow_line)
        except ClientDisconnect:
            return Response(status_code=499)
        try:
            service.restorers.check(upload)
        except Problem:
            service.store.remove(upload.path.parent)
            raise
        job = service.restore(Wish(upload, what, force, decimation, suffix, service.limits.largest))
        return await answered(service, service.slow_line, job, request, wait=wait)

    @made.post("/v1/restore", responses={**ANSWERS, **why(501)}, **more)
    async def restore(
        request: Request,
        wait: Wait = True,
        force: Annotated[bool, Query(description="Restore what would better be left alone, too.")] = False,
        decimation: Reduced = None,
        accept: Accept = None,
    ) -> Response:
        """Restore a photograph of unknown blur: its kernel is found, then a network adapts to it.

        It takes about a minute a megapixel, one photograph at a time; `wait=false` and the job's events show how it
        gets on. A photograph that it would make worse is enlarged plainly, which the job's `remarks` say.
        """
        suffix = images.wanted(accept) if wait else images.wanted(_only_images(accept))
        return await begun(request, "restore", suffix, decimation, force=force, wait=wait)

    @made.post("/v1/kernel", responses={202: ANSWERS[202], **why(*WHY)}, **more)
    async def kernel(request: Request, wait: Wait = True, decimation: Reduced = None) -> Response:
        """Find the blur of a photograph: JSON with the taps of its kernel, a correlation that sums to 1."""
        return await begun(request, "kernel", ".json", decimation, force=False, wait=wait)


async def answered(service: Service, line: Line, job: Job, request: Request, *, wait: bool) -> Response:
    """The answer to a request that has begun a job: the job itself, or its result when it is there."""
    if not wait:
        location = request.scope.get("root_path", "") + f"/v1/jobs/{job.id}"
        return JSONResponse(job.as_json(), 202, {"Location": location})
    gone = asyncio.ensure_future(_gone(request))
    ready = asyncio.ensure_future(_ready(job))
    late = asyncio.get_running_loop().call_later(line.patience, _late, service, line, job)
    try:
        await asyncio.wait((gone, ready), return_when=asyncio.FIRST_COMPLETED)
    finally:
        late.cancel()
        gone.cancel()
        if not ready.done():
            ready.cancel()
            line.cancel(job)
            job.fetched = True  # nobody waits for it; the sweep removes it
    if not ready.done():
        return Response(status_code=499)
    if job.result is None:
        service.store.discard(job)
        cancelled = Problem(503, "Cancelled", "the work was cancelled; ask again", "cancelled")
        return problems.answer(job.error or cancelled)  # it was counted as it happened
    return _picture(service, job, BackgroundTask(_forget, service, job))


async def _forget(service: Service, job: Job) -> None:
    """Discard a job whose result was sent; a coroutine, since starlette runs plain functions in another thread."""
    service.store.discard(job)


def _late(service: Service, line: Line, job: Job) -> None:
    """Refuse a photograph whose turn has not come: its client would give up, and nobody would take the result."""
    if job.state == "queued":
        after = line.wait_seconds()
        detail = (
            f"the photograph has waited {line.patience:g} s, and its turn has not come; try again in {after} s, or ask "
            "for a job (wait=false), which waits as long as it takes"
        )
        problem = Problem(503, "Too many photographs", detail, "queue", {"Retry-After": str(after)})
        service.metrics.failed(problem.kind)
        line.cancel(job, problem)


def _jobs(made: APIRouter, service: Service) -> None:
    responses = why(404)

    @made.get("/v1/jobs/{number}", response_model=None, responses={200: {"model": JobBody}, **responses}, tags=["jobs"])
    async def state(number: str) -> JSONResponse:
        """How a photograph gets on."""
        return JSONResponse(service.store.find(number).as_json(), headers={"Cache-Control": "no-store"})

    @made.get("/v1/jobs/{number}/events", response_class=StreamingResponse, responses=responses, tags=["jobs"])
    async def events(number: str, request: Request) -> StreamingResponse:
        """The same as server-sent events, one for each change, until it is done."""
        job = service.store.find(number)

        async def lines() -> AsyncIterator[str]:
            if request.method == "HEAD":  # its answer must not wait for the job
                return
            async for state in job.changes():
                yield f"data: {json.dumps(state)}\n\n"

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)

    @made.get(
        "/v1/jobs/{number}/result",
        response_class=Response,
        responses={200: {"content": PICTURES}, **responses, **why(409)},
        tags=["jobs"],
    )
    async def result(number: str, request: Request) -> Response:
        """The finished photograph, in the format that was asked for with it."""
        job = service.store.find(number)
        if job.error is not None:
            return problems.answer(job.error)
        if job.result is None:
            detail = f"the job is {job.state}, {job.done} of {job.tiles} tiles are done; ask again when it is done"
            raise Problem(409, "Not done", detail, "job")
        return _picture(service, job, sent=request.method != "HEAD")

    @made.delete(
        "/v1/jobs/{number}", response_model=None, responses={200: {"model": JobBody}, **responses}, tags=["jobs"]
    )
    async def cancel(number: str) -> JSONResponse:
        """Cancel a photograph, or forget it where it is done. It ends at its next tile or step."""
        job = service.store.find(number)
        if job.finished:
            service.store.discard(job)
        else:
            for line in service.lines():
                line.cancel(job)
        return JSONResponse(job.as_json())


def _health(made: APIRouter, service: Service) -> None:
    @made.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "alive"}

    @made.get("/readyz", tags=["health"], responses=why(503))
    async def readyz() -> dict[str, str]:
        """Whether it takes photographs: a model is loaded and it is not about to stop."""
        if service.stopping:
            raise Problem(503, "Stopping", "no further photographs are taken", "stopping")
        return {"status": "ready"}

    @made.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _picture(service: Service, job: Job, after: BackgroundTask | None = None, *, sent: bool = True) -> Response:
    assert job.result is not None
    path: Path = job.result.path
    if sent:
        job.fetched = True
        service.metrics.bytes.labels("out").inc(path.stat().st_size)
    names = {"X-Model": job.model, "X-Model-Version": job.version}  # of files, which may bear any: headers may not
    headers = {key: quote(name, "@+", errors="surrogateescape") for key, name in names.items()}
    headers |= {"Cache-Control": "no-store", "Vary": "Accept"}
    if "why" in job.more:
        headers["X-Model-Why"] = job.more["why"]
    return FileResponse(path, media_type=job.result.media, headers=headers, background=after)


def _only_images(accept: str | None) -> str | None:
    """The part of an Accept header that names images; a client that asks for a job may take JSON besides."""
    kept = [part for part in (accept or "").split(",") if part.strip().lower().startswith(("image/", "*/*"))]
    return ",".join(kept) or None


async def _gone(request: Request) -> None:
    """Wait until the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _ready(job: Job) -> None:
    async for _ in job.changes():
        pass
