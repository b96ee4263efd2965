"""Archives of photographs: fetched once, resumed where a connection broke, checked against a checksum.

Nothing half done ever stands under its final name: a download grows in `NAME.part` (with what a resume needs in
`NAME.part.json`) and is renamed when it is complete. `NAME.lock` makes a second process wait for the first.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from tqdm import tqdm

from srfoundry.core.errors import FoundryError

DIGITS = {"sha256": 64, "md5": 32}
BLOCK = 1 << 20
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others in a moment


class _Again(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait  # seconds that the server asks for


def fetch(
    url: str, checksum: str, folder: Path, *, attempts: int = 6, patience: float = 30.0, pause: float = 1.0
) -> Path:
    """Return an archive's path, downloaded into `folder` unless it is there; a local file is checked and used in place.

    Args:
        url: http(s)://, file://, or a plain path.
        checksum: "sha256:HEX" or "md5:HEX" of the whole file. A file that passed is not read again at the next call.
        attempts: how often in a row the download may bring nothing new.
        patience: seconds without a byte after which a connection counts as dead.
        pause: seconds before the second attempt; they double with each further failure.

    Raises:
        FoundryError: the checksum is malformed or differs, the server refuses or stays away, the disk is full.
    """
    kind, _, digest = checksum.partition(":")
    if len(digest) != DIGITS.get(kind) or set(digest.lower()) - set("0123456789abcdef"):
        raise FoundryError(f"a checksum is sha256: and 64 hex digits, or md5: and 32; got {checksum!r} for {url}")
    checksum, parts, got = checksum.lower(), urlsplit(url), ""
    remote = parts.scheme in ("http", "https")
    name = PurePosixPath(unquote(parts.path)).name
    if not name or ("://" in url and not remote and parts.scheme != "file"):
        raise FoundryError(f"{url} names no file; give an http(s) or file address that ends in a file name, or a path")
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not remote:
            local = Path(unquote(parts.path) if parts.scheme == "file" else url)
            if not local.is_file():
                raise FoundryError(f"{local} not found; correct the path of the archive")
            if not _verified(local, checksum, folder):
                got = _checksum(local, kind)
                raise FoundryError(f"{local} has {got}, not {checksum}; replace the file or correct the checksum")
            return local
        target, part = folder / name, folder / f"{name}.part"
        with lock(folder, name):
            if target.is_file() and _verified(target, checksum, folder):
                return target
            for _ in range(2):  # bytes may be spoiled on the way once
                _download(url, target, part, attempts=attempts, patience=patience, pause=pause)
                got = _checksum(part, kind)
                if got == checksum:
                    part.replace(target)
                    _note(part).unlink(missing_ok=True)
                    _stamp(target, checksum, folder)
                    return target
                part.unlink()
    raise FoundryError(
        f"{url} has {got}, not {checksum}, twice; correct the checksum, or put the right file at {target}"
    )


def _download(url: str, target: Path, part: Path, *, attempts: int, patience: float, pause: float) -> None:
    """Bring `part` to its full length, over as many connections as that takes while each brings more."""
    if _read(_note(part)).get("address") != _digest(url):
        part.unlink(missing_ok=True)  # of another address
    failures, most = 0, _size(part)
    with httpx.Client(timeout=patience, follow_redirects=True, headers={"Accept-Encoding": "identity"}) as client:
        while True:
            try:
                return _attempt(client, url, target, part)
            except (httpx.TransportError, _Again) as error:
                size = _size(part)  # only what goes beyond the best attempt counts: this ends, whatever the server does
                failures, most = (0 if size > most else failures + 1), max(most, size)
                if failures >= attempts:
                    why = str(error) or type(error).__name__
                    raise FoundryError(
                        f"{url} did not come in {attempts} attempts ({why}); run again when the network is back (what "
                        f"has come is kept), or fetch it by hand to {target}"
                    ) from None
                asked = error.wait if isinstance(error, _Again) else 0.0
                time.sleep(max(pause * 2 ** max(failures - 1, 0), min(asked, patience)))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FoundryError(f"{url}: {error}; correct the address or fetch it by hand to {target}") from None


def _digest(url: str) -> str:
    """What stands for an address on disk: a token may be in it."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]


def _attempt(client: httpx.Client, url: str, target: Path, part: Path) -> None:
    """Ask once, for what is missing if the file is still the same, and append what comes."""
    have, known = _size(part), _read(_note(part)).get("version", "")
    wish = ({"Range": f"bytes={have}-"} | ({"If-Range": known} if known else {})) if have else {}
    with client.stream("GET", url, headers=wish) as answer:
        code, given = answer.status_code, answer.headers
        said = f"{code} {answer.reason_phrase}"
        version = given.get("ETag", "W/")
        version = given.get("Last-Modified", "") if version.startswith("W/") else version  # a weak tag allows no range
        span = given.get("Content-Range", "").removeprefix("bytes ")
        if code == 416 and have and span == f"*/{have}":
            return  # all of it had come
        if code == 416 or (code == 206 and (not span.startswith(f"{have}-") or version not in ("", known))):
            part.unlink(missing_ok=True)
            raise _Again(f"{said}: the file changed on the server")
        if code in AGAIN:
            asked = given.get("Retry-After", "")
            raise _Again(said, float(asked) if asked.isdecimal() else 0.0)
        if code not in (200, 206):
            raise FoundryError(f"{url} answers {said}; correct the address or fetch the file by hand to {target}")
        have = have if code == 206 else 0
        length, free = given.get("Content-Length", ""), shutil.disk_usage(part.parent).free
        if length.isdecimal() and int(length) > free:
            raise OSError(errno.ENOSPC, f"{int(length) / 1e9:.1f} GB are to come and {free / 1e9:.1f} GB are free")
        whole = span.rpartition("/")[2]  # a server may send less than was asked for
        total = int(whole) if whole.isdecimal() else have + int(length) if length.isdecimal() else None
        with part.open("ab" if have else "wb") as file, _bar(target.name, total, have) as progress:
            if not have:
                _note(part).write_text(json.dumps({"address": _digest(url), "version": version}))
            for block in answer.iter_raw():
                file.write(block)
                progress.update(len(block))
            file.flush()
            os.fsync(file.fileno())  # the stamp must not outlive the bytes in a power cut
    if total is not None and _size(part) < total:
        raise _Again(f"{_size(part)} of {total} bytes came")


def _bar(title: str, total: int | None, start: int) -> "tqdm":
    live = sys.stderr.isatty()
    interval = 0.2 if live else 15.0  # as progress.bar, in bytes
    shape = {"dynamic_ncols": live, "unit": "B", "unit_scale": True}
    return tqdm(desc=title, total=total, initial=start, mininterval=interval, **shape)


def _checksum(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _verified(path: Path, checksum: str, folder: Path) -> bool:
    """Whether a file has this checksum; `folder/NAME.verified` remembers that, for reading gigabytes takes long."""
    if _read(folder / f"{path.name}.verified") == {"checksum": checksum, **_state(path)}:
        return True
    if _checksum(path, checksum.partition(":")[0]) != checksum:
        return False
    _stamp(path, checksum, folder)
    return True


def _stamp(path: Path, checksum: str, folder: Path) -> None:
    (folder / f"{path.name}.verified").write_text(json.dumps({"checksum": checksum, **_state(path)}))


def key(archive: Path, folder: Path) -> str:
    """Twelve hex digits of an archive's checksum where that was verified, else of its size and time."""
    state, known = _state(archive), _read(folder / f"{archive.name}.verified")
    if {**known, **state} == known:
        return known["checksum"].partition(":")[2][:12]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def _state(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "time": status.st_mtime_ns}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}  # a note that a kill cut short is none


@contextmanager
def lock(folder: Path, name: str) -> Iterator[None]:
    """Hold `NAME.lock`; where another process does, wait for it."""
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"{name}: waiting for another process that fetches or unpacks it\n")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room there or choose another folder" if full else "make it readable and writable"
        raise FoundryError(f"{'no room in' if full else 'cannot work in'} {folder} ({error}); {remedy}") from None
