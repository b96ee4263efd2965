"""Does serving cost anything? Eight clients at once, against the same photographs one by one in one session.

The loop does what `srfoundry upscale` does for each file, decoding and encoding included; `net` is the network alone.
Rounds take turns, so that a busy moment meets all alike; processor seconds are beside, which other work disturbs less.
"""

import io
import resource
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._served import Served, served
from srfoundry.imaging import images, levels, user_image
from srfoundry.runtime.upscaler import Upscaler

SIDE, COUNT, CLIENTS = 256, 32, 8
ROUNDS = 7


def load(exports: Path, threads: int) -> dict[str, Any]:
    """Throughput and latency of a server under eight clients, over those of a plain loop."""
    files = photographs()
    upscaler = Upscaler.load(exports / "pruned.onnx", threads=threads, device="cpu")
    latencies: list[float] = []
    statuses: list[int] = []
    taken: dict[str, list[float]] = {"loop": [], "net": [], "server": []}
    computed: dict[str, list[float]] = {"loop": [], "net": [], "server": []}
    with served(str(exports), threads=threads) as server, tempfile.TemporaryDirectory() as folder:
        for name, body in files.items():
            (Path(folder) / name).write_bytes(body)
        paths = sorted(Path(folder).glob("*.png"))

        def loop() -> None:
            for path in paths:
                upscaler.file(path, path.with_name(f"{path.stem}_x2.PNG"))

        lows = [levels.to_floats(np.asarray(Image.open(path))) for path in paths]

        def net() -> None:
            for low in lows:
                upscaler.model.run(low)

        def clients() -> None:
            found = _clients(server, list(files.values()))
            latencies.extend(seconds for seconds, _ in found)
            statuses.extend(status for _, status in found)

        contestants = {"loop": loop, "server": clients, "net": net}
        clients(), loop(), net()  # warm up
        latencies.clear()
        for turn in range(ROUNDS):
            for name in list(contestants)[:: 1 if turn % 2 == 0 else -1]:
                before, began = _cpu(server, name), time.perf_counter()
                contestants[name]()
                taken[name].append(time.perf_counter() - began)
                computed[name].append(_cpu(server, name) - before)
    ratios = [loop_ / server_ for loop_, server_ in zip(taken["loop"], taken["server"], strict=True)]
    over_net = [net_ / server_ for net_, server_ in zip(taken["net"], taken["server"], strict=True)]
    quick = {name: round(COUNT / min(values), 2) for name, values in taken.items()}
    return {
        "server_over_loop": round(statistics.median(ratios), 3),
        "server_over_loop_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "server_over_net_alone": round(statistics.median(over_net), 3),
        "server_images_per_second": quick,
        "server_cpu_seconds_per_image": {name: round(min(values) / COUNT, 4) for name, values in computed.items()},
        "server_p50_seconds": round(float(np.quantile(latencies, 0.5)), 3),
        "server_p95_seconds": round(float(np.quantile(latencies, 0.95)), 3),
        "server_worst_seconds": round(max(latencies), 3),
        "server_requests": len(statuses),
        "server_errors": sum(status != 200 for status in statuses),
    }


def photographs(count: int = COUNT, side: int = SIDE) -> dict[str, bytes]:
    """Squares of the bundled photographs as PNG files."""
    made: dict[str, bytes] = {}
    for index in range(count):
        paths = images.bundled()
        whole = user_image.read(paths[index % len(paths)]).pixels
        top, left = (
            hash_ % max(extent - side, 1)
            for hash_, extent in zip((7919 * index, 104_729 * index), whole.shape, strict=False)
        )
        part = np.ascontiguousarray(whole[top : top + side, left : left + side])
        if part.shape[:2] != (side, side):
            part = np.asarray(Image.fromarray(part).resize((side, side)))
        packed = io.BytesIO()
        Image.fromarray(part).save(packed, "PNG")
        made[f"{index:03d}.png"] = packed.getvalue()
    return made


def _clients(server: Served, bodies: list[bytes]) -> list[tuple[float, int]]:
    """Each client sends its share, one after another over one connection: seconds and status of each answer."""

    def client(index: int) -> list[tuple[float, int]]:
        connection, found = server.connection(), list[tuple[float, int]]()
        for body in bodies[index::CLIENTS]:
            began = time.perf_counter()
            status = server.post(connection, body, "/v1/upscale?model=pruned")[0]
            found.append((time.perf_counter() - began, status))
        connection.close()
        return found

    with ThreadPoolExecutor(CLIENTS) as side_by_side:
        return [one for found in side_by_side.map(client, range(CLIENTS)) for one in found]


def _cpu(server: Served, name: str) -> float:
    if name == "server":
        return server.cpu_seconds()
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime
