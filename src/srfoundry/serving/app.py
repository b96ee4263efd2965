"""The server's application: routes, refusals, documentation and page behind the guard."""

from importlib import metadata, resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from srfoundry.serving import documentation, problems, routes
from srfoundry.serving.guarding import Guard
from srfoundry.serving.service import Service

ABOUT = """Enlarges photographs with trained networks. What is refused is answered with problem details (RFC 9457).

    curl --data-binary @photo.jpg http://127.0.0.1:8000/v1/upscale -o photo_x2.png
"""
READING = ["GET", "HEAD"]
EXPOSED = ["X-Model", "X-Model-Version", "X-Model-Why", "Location", "Retry-After"]


def application(service: Service) -> ASGIApp:
    """The ASGI application of a service, which must have been entered before the first request."""
    made = FastAPI(
        title="srfoundry",
        description=ABOUT,
        version=metadata.version("srfoundry"),
        lifespan=service.lifespan,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(made, service.metrics.failed)
    made.include_router(routes.router(service))

    @made.api_route("/docs", methods=READING, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation.page(made.openapi()))

    _offer_page(made, Path(str(resources.files("srfoundry.serving"))) / "page")
    guarded: ASGIApp = made
    if service.serving.listening.origins:
        origins = list(service.serving.listening.origins)
        guarded = CORSMiddleware(
            made, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED
        )
    return Guard(guarded, service.serving.listening, service.limits, service.metrics)


def _offer_page(made: FastAPI, page: Path) -> None:
    """Offer the page's files, each by its name: a mount at / would answer for the routes' other methods, too."""

    def offer(path: Path, name: str) -> None:
        async def file() -> FileResponse:
            return FileResponse(path, headers={"Cache-Control": "no-cache"})

        made.add_api_route(f"/{name}", file, methods=READING, include_in_schema=False, response_class=FileResponse)

    for path in sorted(page.glob("*")):
        if path.is_dir():
            made.mount(f"/{path.name}", StaticFiles(directory=path))
        elif path.suffix != ".py":
            offer(path, path.name)
    if (page / "index.html").is_file():
        offer(page / "index.html", "")
