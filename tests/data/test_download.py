"""Archives come whole through servers that cut, stall, ignore and spoil; what is unpacked cannot do harm."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.data import download

BODY = bytes(range(256)) * 1200  # 307,200 bytes
QUICK: dict[str, Any] = {"pause": 0.01, "patience": 5.0}


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Server:
    """What the server shall do, by request: the last entry of a list holds for all that follow."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=lambda: [BODY])
    codes: list[int] = field(default_factory=lambda: [200])
    cuts: list[int | None] = field(default_factory=lambda: [None])  # bytes after which the connection ends
    tags: list[str | None] = field(default_factory=lambda: ['"one"'])
    ranges: bool = True
    most: int = 1 << 30  # bytes in an answer to a range
    stalls: int = 0  # requests that get half of the bytes and then silence
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[str | None] = field(default_factory=list)  # the Range of each request
    more: dict[str, str] = field(default_factory=dict)


Entry = TypeVar("Entry")


def turn(of: list[Entry], index: int) -> Entry:
    return of[min(index, len(of) - 1)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of this process, stopped with the test."""
    monkeypatch.setenv("NO_PROXY", "*")
    plan = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("/moved", "/now"))
                self.send_header("Content-Length", "0")
                return self.end_headers()
            index = len(plan.asked)
            plan.asked.append(self.headers["Range"])
            body, code, tag = turn(plan.bodies, index), turn(plan.codes, index), turn(plan.tags, index)
            start, whole = 0, len(body)
            if code != 200:
                body = b"no"
            elif plan.ranges and self.headers["Range"] and self.headers["If-Range"] in (None, tag):
                start, code = int(self.headers["Range"][6:-1]), 206
                body = body[: start + plan.most]
                if start >= whole:
                    code = 416
            self.send_response(code)
            if code == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{whole}")
            if code == 416:
                self.send_header("Content-Range", f"bytes */{whole}")
            if tag:
                self.send_header("ETag", tag)
            for name, value in plan.more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(max(len(body) - start, 0)))
            self.end_headers()
            cut = turn(plan.cuts, index)
            rest = body[start:]
            if index < plan.stalls:
                self.wfile.write(rest[: len(rest) // 2])
                self.wfile.flush()
                plan.released.wait(60)
                self.close_connection = True
            else:
                self.wfile.write(rest[:cut])
                self.close_connection = cut is not None

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the client went away

    with Quiet(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        plan.url = f"http://127.0.0.1:{running.server_port}/a/set%201.zip?x=1"
        yield plan
        plan.released.set()
        running.shutdown()
        thread.join()


def get(server: Server, folder: Path, body: bytes = BODY, **how: Any) -> Path:
    path = download.fetch(server.url, sha(body), folder, **{**QUICK, **how})
    assert path == folder / "set 1.zip" and path.read_bytes() == body
    assert {one.name for one in folder.iterdir()} == {path.name, f"{path.name}.lock", f"{path.name}.verified"}
    return path


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "new")
    get(server, tmp_path / "new")
    assert server.asked == [None]


def test_md5_is_known_too(server: Server, tmp_path: Path) -> None:
    path = download.fetch(server.url, f"md5:{hashlib.md5(BODY).hexdigest().upper()}", tmp_path)
    assert path.read_bytes() == BODY


def test_a_cut_connection_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cuts = [30_000] * 9 + [None]  # more cuts than attempts: each brought something
    get(server, tmp_path)
    assert server.asked == [None, *(f"bytes={30_000 * n}-" for n in range(1, 10))]


def test_a_server_that_sends_less_than_asked_for_is_asked_on(server: Server, tmp_path: Path) -> None:
    server.cuts, server.most = [7200, None], 100_000
    get(server, tmp_path)
    assert server.asked == [None, "bytes=7200-", "bytes=107200-", "bytes=207200-"]


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.cuts, server.codes = [100_000], [200, 503]
    with pytest.raises(FoundryError, match=r"did not come in 2 attempts \(503.*by hand to .*set 1\.zip$"):
        get(server, tmp_path, attempts=2)
    server.cuts, server.codes = [None], [200]
    get(server, tmp_path)
    assert server.asked == [None, "bytes=100000-", "bytes=100000-", "bytes=100000-"]


def test_a_part_of_another_address_is_not_used(server: Server, tmp_path: Path) -> None:
    server.cuts, server.codes = [100_000], [200, 404]
    with pytest.raises(FoundryError, match="404"):
        get(server, tmp_path)
    server.cuts, server.codes, server.url = [None], [200], server.url.replace("/a/", "/b/")
    get(server, tmp_path)
    assert server.asked[-1] is None


def test_a_part_that_was_complete_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set 1.zip.part").write_bytes(BODY)
    (tmp_path / "set 1.zip.part.json").write_text(
        f'{{"address": "{download._digest(server.url)}", "version": "\\"one\\""}}'
    )
    get(server, tmp_path)
    assert server.asked == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("note", ["", "{", '{"url": "http://else/x", "version": ""}'])
def test_a_part_without_a_good_note_starts_over(server: Server, tmp_path: Path, note: str) -> None:
    (tmp_path / "set 1.zip.part").write_bytes(BODY + b"too much")
    (tmp_path / "set 1.zip.part.json").write_text(note)
    get(server, tmp_path)
    assert server.asked == [None]


def test_a_part_that_is_too_long_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set 1.zip.part").write_bytes(BODY + b"too much")
    (tmp_path / "set 1.zip.part.json").write_text(
        f'{{"address": "{download._digest(server.url)}", "version": "\\"one\\""}}'
    )
    get(server, tmp_path)
    assert server.asked == [f"bytes={len(BODY) + 8}-", None]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000, 50_000, 200_000, None]
    get(server, tmp_path)


def test_a_server_without_ranges_that_always_cuts_ends_the_attempts(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [100_000]
    with pytest.raises(FoundryError, match="in 3 attempts"):
        get(server, tmp_path, attempts=3)
    assert len(server.asked) == 4


def test_spoiled_bytes_are_fetched_once_more(server: Server, tmp_path: Path) -> None:
    server.bodies = [BODY[::-1], BODY]
    get(server, tmp_path)
    assert server.asked == [None, None]


def test_a_wrong_checksum_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match=f"has {sha(BODY)}, not {sha(b'')}, twice"):
        get(server, tmp_path, body=b"")
    assert len(server.asked) == 2 and not (tmp_path / "set 1.zip").exists()


def test_a_stalled_server_is_left(server: Server, tmp_path: Path) -> None:
    server.stalls = 1
    get(server, tmp_path, patience=0.3, attempts=100)  # a busy machine may be late too
    assert len(server.asked) >= 2


@pytest.mark.parametrize("code", [503, 429, 500])
def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, code: int) -> None:
    server.codes, server.more = [code, code, 200], {"Retry-After": "0"}
    get(server, tmp_path)
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [404, 403, 401])
def test_a_refusal_is_final(server: Server, tmp_path: Path, code: int) -> None:
    server.codes = [code]
    with pytest.raises(FoundryError, match=rf"answers {code} .*by hand to .*set 1\.zip"):
        get(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("tags", [['"one"', '"two"'], ['W/"weak"', 'W/"weaker"'], [None]])
def test_a_file_that_changes_meanwhile_comes_whole(server: Server, tmp_path: Path, tags: list[str | None]) -> None:
    """By its tag where there is one, else by the checksum."""
    server.cuts, server.tags, server.bodies = [100_000, None], tags, [BODY[::-1], BODY]
    get(server, tmp_path)
    assert server.asked[1] == "bytes=100000-"


def test_a_changed_file_behind_a_server_that_ignores_conditions_comes_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set 1.zip.part").write_bytes(b"old" * 1000)
    (tmp_path / "set 1.zip.part.json").write_text(f'{{"address": "{download._digest(server.url)}", "version": ""}}')
    get(server, tmp_path)
    assert server.asked == ["bytes=3000-", None]


def test_redirects_are_followed_and_the_name_kept(server: Server, tmp_path: Path) -> None:
    server.url = server.url.replace("/a/", "/moved/")
    get(server, tmp_path)


def test_two_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    """The lock is one of the open file, so that threads stand for processes here."""
    server.stalls = 1
    runs = [threading.Thread(target=get, args=(server, tmp_path), kwargs={"patience": 60.0}) for _ in range(2)]
    runs[0].start()
    while not server.asked:
        time.sleep(0.01)
    runs[1].start()
    server.released.set()
    for run in runs:
        run.join(60)
    assert (tmp_path / "set 1.zip").read_bytes() == BODY
    assert server.asked == [None, f"bytes={len(BODY) // 2}-"]


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as taken, pytest.raises(FoundryError, match=r"did not come in 2 attempts \(.+\)") as caught:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        port = taken.getsockname()[1]
        download.fetch(f"http://127.0.0.1:{port}/set.zip", sha(BODY), tmp_path, attempts=2, **QUICK)
    assert "\n" not in str(caught.value)


class Usage(NamedTuple):
    free: int


def test_a_full_disk_is_one_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: Usage(free=1000))
    with pytest.raises(FoundryError, match="no room in .* 0.0 GB are free.*make room"):
        get(server, tmp_path)
    monkeypatch.undo()
    (tmp_path / "set 1.zip.part").symlink_to("/dev/full")
    (tmp_path / "set 1.zip.part.json").write_text(f'{{"address": "{download._digest(server.url)}", "version": ""}}')
    with pytest.raises(FoundryError, match="no room in .*make room"):
        download.fetch(server.url, sha(BODY), tmp_path, **QUICK)


def test_a_stamp_spares_reading_and_a_touched_file_is_read(server: Server, tmp_path: Path) -> None:
    path = get(server, tmp_path)
    status = path.stat()
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # nobody does this by mistake
    assert download.fetch(server.url, sha(BODY), tmp_path).read_bytes() == BODY[::-1], "not read"
    os.utime(path)
    get(server, tmp_path)
    assert len(server.asked) == 2, "spoiled, so fetched anew"


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_local_file_is_used_in_place(tmp_path: Path, form: str) -> None:
    path = tmp_path / "set 1.zip"
    path.write_bytes(BODY)
    assert download.fetch(form.format(path), sha(BODY), tmp_path / "cache") == path
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["set 1.zip"], "nothing beside the user's file"
    with pytest.raises(FoundryError, match="replace the file or correct"):
        download.fetch(form.format(path), sha(b""), tmp_path / "cache")
    with pytest.raises(FoundryError, match="not found"):
        download.fetch(form.format(path) + "x", sha(b""), tmp_path / "cache")


@pytest.mark.parametrize(
    ("url", "checksum", "said"),
    [
        ("http://x/a.zip", "sha1:00", "a checksum is"),
        ("http://x/a.zip", "sha256:" + "0" * 63, "a checksum is"),
        ("http://x/a.zip", "md5:" + "g" * 32, "a checksum is"),
        ("ftp://x/a.zip", "md5:" + "0" * 32, "names no file"),
        ("http://x/", "md5:" + "0" * 32, "names no file"),
        ("http://x y:z/a.zip", "md5:" + "0" * 32, "correct the address"),
    ],
)
def test_nonsense_is_said(tmp_path: Path, url: str, checksum: str, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        download.fetch(url, checksum, tmp_path, attempts=1, **QUICK)


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoundryError, match="cannot work in"):
        download.fetch("http://x/a.zip", sha(b""), tmp_path / "file")
