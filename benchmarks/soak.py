"""Does a server that runs for an hour grow? Photographs, jobs that nobody fetches, hostile requests, crowds.

python -m benchmarks.soak                      an hour, after `make repro`; --minutes 2 for a look
python -m benchmarks.soak --exports FOLDER     of models that lie elsewhere

One process serves, another asks. What the server holds is looked at every few seconds, but not while a crowd of
clients is answered; the mean of the last five minutes is compared with that of minutes five to ten (of a shorter run:
the last and the second twelfth). Memory is what the process alone holds (RssAnon): files that are mapped, models among
them, come and go as the system likes.
"""

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import _server_hostile, table
from benchmarks._served import Served, served
from benchmarks._server_load import photographs
from srfoundry.core.errors import FoundryError

WINDOW = 1 / 12  # of the run: five minutes of an hour
ANSWERS = ("image/png", "image/jpeg", "image/webp", "*/*")
WORKERS = 24  # threads that ask; slow hostile requests hold one for a dozen seconds
SIDES = (40, 64, 96, 144)


@dataclass(frozen=True)
class Pace:
    """How much is asked of the server.

    Attributes:
        minutes: of the whole run.
        rate: requests a second, each third of them hostile.
        crowd: clients that come at once.
        crowds: how often they come.
        looks: how often the server is looked at.
    """

    minutes: float = 60.0
    rate: float = 1.5
    crowd: int = 256
    crowds: int = 10
    looks: int = 360


@dataclass
class Course:
    """What was seen: answers by kind, and (share of the run, memory in kB, handles, threads) at each look."""

    answers: Counter[str] = field(default_factory=Counter)
    looks: list[tuple[float, int, int, int]] = field(default_factory=list)

    def growth(self, column: int) -> float:
        """How much a column of the looks has grown, as a share of what it was after the first twelfth."""
        late = [look[column] for look in self.looks if look[0] >= 1 - WINDOW]
        early = [look[column] for look in self.looks if WINDOW <= look[0] < 2 * WINDOW]
        if not early or not late:
            raise FoundryError(f"the server was looked at {len(self.looks)} times, too seldom; give more --minutes")
        return statistics.fmean(late) / statistics.fmean(early) - 1


def soak(exports: Path, pace: Pace, seed: int = 0) -> dict[str, Any]:
    """Ask one server for so long; returns the figures that survival.json keeps."""
    bodies = [body for side in SIDES for body in photographs(4, side=side).values()]
    course, rng = Course(), random.Random(seed)
    with served(str(exports), threads=1) as server, ThreadPoolExecutor(WORKERS) as askers:
        began, length = time.monotonic(), 60 * pace.minutes
        asked = looked = crowds = 0
        while (share := (time.monotonic() - began) / length) < 1:
            if share >= (crowds + 0.5) / pace.crowds:
                course.answers.update(f"crowd {one}" for one in crowd(server, pace.crowd, bodies[0]))
                crowds += 1
            elif share >= looked / pace.looks:
                course.looks.append((share, *held(server)))
                looked += 1
            askers.submit(_ask, server, course.answers, (asked, rng.choice(bodies), rng.choice(ANSWERS)))
            asked += 1
            time.sleep(max(0.0, began + asked / pace.rate - time.monotonic()))
            _progress(share, course)
        askers.shutdown()
        alive = server.post(server.connection(), bodies[0])[0]
        return {
            "soak_minutes": round((time.monotonic() - began) / 60, 1),
            "soak_requests": course.answers.total(),
            "soak_answers": dict(sorted(course.answers.items())),
            "soak_growth": round(course.growth(1), 4),
            "soak_handles_growth": round(course.growth(2), 4),
            "soak_threads_growth": round(course.growth(3), 4),
            "soak_memory_mb": [round(look[1] / 1024) for look in course.looks[:: max(1, len(course.looks) // 12)]],
            "soak_peak_rss_mb": server.megabytes("VmHWM"),
            "soak_handles": course.looks[-1][2],
            "soak_threads": course.looks[-1][3],
            "soak_alive": alive == 200,
            "soak_tracebacks": server.said().count("Traceback"),
        }


def held(server: Served) -> tuple[int, int, int]:
    """What the process has now: kB of memory of its own, open handles, threads."""
    place = Path(f"/proc/{server.process.pid}")
    said = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    return int(said["RssAnon"].split()[0]), len(list((place / "fd").iterdir())), int(said["Threads"])


def crowd(server: Served, count: int, body: bytes) -> list[str]:
    """So many clients with a photograph each, at once; returns what each was answered."""

    def one(_: int) -> str:
        try:
            return str(server.post(server.connection(), body)[0])
        except OSError as error:
            return type(error).__name__

    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(one, range(count)))


def _ask(server: Served, answers: Counter[str], wish: tuple[int, bytes, str]) -> None:
    """One request: each third is hostile; of the others, some are jobs, watched, cancelled or forgotten."""
    number, body, accept = wish
    if number % 3 == 2:
        name, status = _server_hostile.attack(server, number // 3)
        answers[f"hostile, hung: {name}" if status == "hung" else "hostile, answered"] += 1
        return
    connection = server.connection()
    try:
        path = "/v1/upscale?wait=false" if number % 9 == 0 else "/v1/upscale"
        connection.request("POST", path, body, {"Accept": accept})
        answer = connection.getresponse()
        place, _ = answer.getheader("Location"), answer.read()
        answers[f"good {answer.status}"] += 1
        if place and number % 27:  # others are never asked for again
            time.sleep(1)
            connection.request("DELETE" if number % 18 else "GET", place)
            answers[f"job {connection.getresponse().status}"] += 1
    except OSError as error:
        answers[f"good {type(error).__name__}"] += 1
    finally:
        connection.close()


def _progress(share: float, course: Course) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{share:6.1%}  {course.answers.total()} requests, {course.looks[-1][1] // 1024} MB ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak a server and merge the figures into survival.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exports", type=Path, default=Path("exports"), help="models to serve (default: exports/)")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the whole run (default: 60)")
    parser.add_argument("--rate", type=float, default=1.5, help="requests a second (default: 1.5)")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked (default: 0)")
    options = parser.parse_args(arguments)
    if not (options.exports / "pruned.onnx").is_file():
        raise FoundryError(f"{options.exports} holds no pruned.onnx; run: make repro")
    pace = Pace(options.minutes, options.rate)
    table.merge("survival", "soak", soak(options.exports.resolve(), pace, options.seed), threads=1)


if __name__ == "__main__":
    table.run(main)
