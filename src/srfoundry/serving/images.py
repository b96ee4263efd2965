"""Photographs in and out over HTTP: a body becomes a file within its limits, `Accept` becomes a format."""

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, untrusted
from srfoundry.serving.problems import Problem
from srfoundry.serving.settings import MEGA, Limits

MEDIA = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
NAMES = {suffix: media for media, suffix in MEDIA.items()}


@dataclass(frozen=True)
class Upload:
    """A photograph that was sent.

    Attributes:
        path: of the file, named `photograph`.
        height, width: that its header claims, before it is turned upright.
        size: bytes.
    """

    path: Path
    height: int
    width: int
    size: int


def wanted(accept: str | None, *, otherwise: str = ".png") -> str:
    """The ending of the format that a client likes best; of several as good the first that it names.

    >>> wanted("text/html, image/webp;q=0.8, image/jpeg")
    '.jpg'

    Args:
        accept: the header; PNG, which loses nothing, where it is missing or takes any image.
        otherwise: for wildcards.

    Raises:
        Problem: it takes none of these formats.
    """
    found: list[tuple[float, str]] = []
    for part in ((accept or "").strip() or "*/*").lower().split(","):
        media, *parameters = (each.strip() for each in part.split(";"))
        quality = next((_quality(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        suffix = otherwise if media in ("*/*", "image/*") else MEDIA.get(media)
        if suffix is not None and quality > 0:
            found.append((quality, suffix))
    if not found:
        detail = f"Accept must take one of {', '.join(MEDIA)} or */*, got {(accept or '')[:80]!r}"
        raise Problem(406, "No such format", detail, "format")
    return max(found, key=lambda each: each[0])[1]


async def receive(request: Request, folder: Path, limits: Limits, executor: Executor) -> Upload:
    """Take a photograph from a body, plain or as the field `image` of a form, and look at its header.

    Args:
        folder: where it is written.
        executor: whose threads read the header.

    Raises:
        Problem: it is too large or too slow, no photograph, or damaged.
        ClientDisconnect: the client went away.
    """
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limits.largest_bytes:
        raise _too_long(limits)
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        detail = f"Content-Encoding is {encoding[:80]!r}; send the photograph's own bytes, without that header"
        raise Problem(415, "An encoded body", detail, "photograph", {"Accept-Encoding": "identity"})
    path = folder / "photograph"
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _bounded(request, limits)
    if kind == "multipart/form-data":
        await _from_form(request, stream, path)
    else:
        with path.open("wb") as file:
            async for block in stream:
                file.write(block)
    loop = asyncio.get_running_loop()
    height, width = await loop.run_in_executor(executor, _size, path, limits)
    return Upload(path, height, width, path.stat().st_size)


async def _from_form(request: Request, stream: AsyncGenerator[bytes, None], path: Path) -> None:
    try:
        form = await MultiPartParser(request.headers, stream, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        detail = f"the form cannot be read: {error}; send the field `image` with a file, or the file alone"
        raise Problem(400, "A damaged form", detail, "photograph") from None
    found = form.get("image")
    try:
        if not isinstance(found, UploadFile):
            raise Problem(400, "No photograph", "the form has no file named `image`; send one", "photograph")
        with path.open("wb") as file:
            await asyncio.to_thread(shutil.copyfileobj, found.file, file, 2**20)
    finally:
        await form.close()


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body, cut off where it becomes too long or too slow."""
    began, size = time.monotonic(), 0
    stream = aiter(request.stream())
    while True:
        left = began + limits.grace + size / limits.slowest - time.monotonic()
        try:
            block = await asyncio.wait_for(anext(stream), max(0.0, min(limits.grace, left)))
        except StopAsyncIteration:
            return
        except TimeoutError:
            detail = (
                f"{size:,} bytes came in {time.monotonic() - began:.0f} s, too slowly; send the body without pauses"
            )
            raise Problem(408, "Too slow", detail, "slow", {"Connection": "close"}) from None
        size += len(block)
        if size > limits.largest_bytes:
            raise _too_long(limits)
        yield block


def _too_long(limits: Limits) -> Problem:
    detail = (
        f"a body may have {limits.largest_bytes:,} bytes here; send a smaller file, or start the server with more "
        "--largest-bytes"
    )
    return Problem(413, "Too many bytes", detail, "size", {"Connection": "close"})


def _size(path: Path, limits: Limits) -> tuple[int, int]:
    """Height and width of a photograph that may be decoded."""
    with path.open("rb") as file:
        head = file.read(32)
    if not head:
        raise Problem(400, "No photograph", "the body is empty; send the bytes of a photograph", "photograph")
    if not head.startswith(tuple(untrusted.OPENERS)):
        detail = "the body is no PNG, JPEG, WebP, TIFF or BMP; send one of these"
        raise Problem(415, "No photograph", detail, "photograph")
    try:
        return decoding.size(path, limits.largest)
    except untrusted.TooLarge:
        detail = (
            f"a photograph may have {limits.largest / MEGA:g} megapixels here; send a smaller one, or start the server "
            "with more --largest-megapixels"
        )
        raise Problem(413, "Too many pixels", detail, "size") from None
    except FoundryError as error:
        text = str(error).replace(str(path), "the photograph")
        raise Problem(422, "The photograph cannot be used", text, "photograph") from None


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
