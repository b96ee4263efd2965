"""Does a server survive a thousand hostile requests? Bombs, lies, half-closed and slow connections, damaged files.

Every request comes over a connection of its own from this machine; their number, and the time that each may take, are
bounded. Afterwards the server must answer as before, its log holds no traceback and its memory is as it was.
"""

import io
import random
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import _hostile
from benchmarks._served import Served, served
from benchmarks._server_load import photographs
from srfoundry.serving.settings import Limits

COUNT, SIDE_BY_SIDE = 1000, 24
# Seconds for one answer: what the server itself may take. A picture of four megapixels is worked on for a minute where
# other programs run; slow requests are cut off after ten seconds.
PATIENCE = Limits.waiting + Limits.seconds + Limits.grace
Attack = Callable[[random.Random], "tuple[list[bytes], bool]"]  # what is sent bit by bit, and whether slowly


def hostile(exports: Path, threads: int, count: int = COUNT) -> dict[str, Any]:
    """Send them all, side by side, and look at the server before, meanwhile and after."""
    good = photographs(1)["000.png"]
    with served(str(exports), threads=threads) as server:
        for _ in range(3):
            assert server.post(server.connection(), good)[0] == 200
        before = server.megabytes()
        began = time.perf_counter()
        with ThreadPoolExecutor(SIDE_BY_SIDE) as side_by_side:
            found = list(side_by_side.map(lambda index: attack(server, index), range(count)))
            answers = Counter(status for _, status in found)
        seconds = time.perf_counter() - began
        alive = _recovers(server, good)
        time.sleep(5)  # a server that rests hands memory back
        said = server.said()
        return {
            "hostile_requests": count,
            "hostile_tracebacks": said.count("Traceback"),
            "hostile_log_lines": len(said.splitlines()),
            "hostile_server_errors": sum(each for status, each in answers.items() if status in ("500", "502")),
            "hostile_answers": dict(sorted(answers.items())),
            "hostile_memory_mb": {"before": before, "after": server.megabytes(), "peak": server.megabytes("VmHWM")},
            "hostile_seconds": round(seconds, 1),
            "hostile_alive": alive,
            "hostile_hung": sorted(name for name, status in found if status == "hung"),
            "hostile_log_tail": said[-500:],
        }


def _recovers(server: Served, good: bytes) -> bool:
    """Whether a good photograph is enlarged once the queue is empty again."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        status = server.post(server.connection(), good)[0]
        if status != 429:
            return status == 200 and server.process.poll() is None
        time.sleep(1)
    return False


def attack(server: Served, index: int) -> tuple[str, str]:
    """One request: its kind, and the status that came back, `closed` for none, `hung` where nothing came in time."""
    chosen = ATTACKS[index % len(ATTACKS)]
    return chosen.__name__, _sent(server, chosen, random.Random(index))


def _sent(server: Served, attack: Attack, rng: random.Random) -> str:
    parts, slowly = attack(rng)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        said = b""
        try:
            for number, part in enumerate(parts):
                connection.sendall(part)
                if slowly and number + 1 < len(parts):
                    time.sleep(2)
            if attack in (half_closed, half_body):
                connection.shutdown(socket.SHUT_WR)
            if attack is gone:
                time.sleep(rng.random() / 2)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "gone"
            while not said.endswith(b"\n") and len(said) < 4096 and (block := connection.recv(65_536)):
                said += block
                if b"\r\n\r\n" in said:
                    break
        except TimeoutError:
            return "hung"
        except OSError:
            pass
        return said[9:12].decode("ascii", "replace") if said.startswith(b"HTTP/1.1 ") else "closed"


def _post(body: bytes, *headers: bytes, length: int | None = None, path: bytes = b"/v1/upscale") -> bytes:
    said = b"Content-Length: %d" % (len(body) if length is None else length)
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers, said]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CORPUS = [bytes(body) for _, body in _hostile.valid()]


def damaged(rng: random.Random) -> tuple[list[bytes], bool]:
    """A file of any format, damaged in one of all ways."""
    return [_post(_hostile.damaged(rng.choice(CORPUS), rng.choice(CORPUS), rng))], False


def bomb(rng: random.Random) -> tuple[list[bytes], bool]:
    """A few thousand bytes that claim up to 4 gigapixels, or that unpack to a black picture of 4 megapixels."""
    side = rng.choice((2000, 20_000, 65_000, 2**31 - 1))
    rows = bytes((3 * side + 1) * side) if side == 2000 else bytes(2**22)
    return [_post(_png(side, side, rows), b"Accept: image/jpeg")], False


def polyglot(rng: random.Random) -> tuple[list[bytes], bool]:
    """A picture that is something else besides, or something else that begins as a picture."""
    picture = rng.choice(CORPUS)
    other = rng.choice((b"%PDF-1.7\n", b"PK\x03\x04" + bytes(100), b"<html><script>alert(1)</script>", b"\x7fELF" * 9))
    return [_post(picture + other if rng.random() < 0.5 else other + picture, b"Content-Type: text/html")], False


def wrong_length(rng: random.Random) -> tuple[list[bytes], bool]:
    """More or fewer bytes than are announced; numbers that are none; twice; both ways at once."""
    body = rng.choice(CORPUS)
    lies = (
        b"-5",
        b"1e9",
        b"0x10",
        b"99999999999999999999",
        b"7\r\nContent-Length: 9",
        b"5\r\nTransfer-Encoding: chunked",
    )
    head = b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    if rng.random() < 0.3:
        return [_post(body, length=rng.choice((0, 1, len(body) // 2)))], False
    return [head + rng.choice(lies) + b"\r\n\r\n" + body], False


def half_body(rng: random.Random) -> tuple[list[bytes], bool]:
    """The body ends early, and so does the connection in that direction."""
    body = rng.choice(CORPUS)
    return [_post(body[: len(body) // 2], length=len(body))], False


def half_closed(rng: random.Random) -> tuple[list[bytes], bool]:
    """A whole request of a client that sends nothing more."""
    return [_post(rng.choice(CORPUS))], False


def gone(rng: random.Random) -> tuple[list[bytes], bool]:
    """A client that resets its connection while its photograph is worked on."""
    return [_post(photographs(1, side=rng.choice((64, 600)))["000.png"])], False


def slow(rng: random.Random) -> tuple[list[bytes], bool]:
    """Headers or a body, a few bytes every two seconds."""
    whole = _post(rng.choice(CORPUS))
    cut = whole.index(b"\r\n\r\n") + (4 if rng.random() < 0.5 else -20)
    return [whole[:cut], *(whole[cut + i : cut + i + 1] for i in range(6))], True


def wrong_head(rng: random.Random) -> tuple[list[bytes], bool]:
    """Other methods, versions and paths; headers that are huge, many, folded, or no headers."""
    heads = (
        b"PUT /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0",
        b"TRACE / HTTP/1.1\r\nHost: localhost",
        b"BREW /v1/upscale HTTP/1.1\r\nHost: localhost",
        b"GET /../../../etc/passwd HTTP/1.1\r\nHost: localhost",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost",
        b"GET /v1/jobs/%00%ff HTTP/1.1\r\nHost: localhost",
        b"GET /v1/jobs/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost",
        b"GET / HTTP/9.9\r\nHost: localhost",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost",
        b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 60_000,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 500_000,
        b"GET /healthz HTTP/1.1\r\n" + b"\r\n".join(b"X%d: y" % i for i in range(5000)),
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\nbad header",
        b"GET /healthz HTTP/1.1\r\nHost: evil.example",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade",
        b"POST /v1/upscale?tile=-1&wait=perhaps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0",
        b"POST /v1/upscale?model=%F0%28%8C%28 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0",
        b"DELETE /v1/jobs/none HTTP/1.1\r\nHost: localhost",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        rng.randbytes(300),
    )
    return [rng.choice(heads) + b"\r\n\r\n"], False


def wrong_form(rng: random.Random) -> tuple[list[bytes], bool]:
    """Forms without an end, a name or a boundary, with a thousand fields, with another form inside."""
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    bodies = (
        part + rng.choice(CORPUS),
        part.replace(b"name=", b"nme=") + b"y\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 1000 + b"--x--\r\n",
        part + b"Content-Type: multipart/form-data; boundary=y\r\n\r\n--y--\r\n--x--\r\n",
        part.replace(b"a.png", b"../../" + b"a" * 5000) + b"y\r\n--x--\r\n",
        rng.randbytes(2000),
    )
    kind = b"Content-Type: multipart/form-data" + rng.choice((b"; boundary=x", b"", b"; boundary=" + b"z" * 3000))
    return [_post(rng.choice(bodies), kind)], False


ATTACKS: tuple[Attack, ...] = (
    *(damaged, damaged, damaged, wrong_length, wrong_head, wrong_head, bomb, damaged, half_body, polyglot),
    *(damaged, damaged, wrong_form, half_closed, gone, wrong_head, damaged, slow, half_body, wrong_length),
)


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    made = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    made.seek(0, io.SEEK_END)
    made.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
    made.write(chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))
    return made.getvalue()
