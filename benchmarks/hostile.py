"""What do hostile files do to the program? Pictures, params, models, kernels, archives, damaged in thousands of ways.

python -m benchmarks.hostile                     all of them, some minutes on one core; goes on where it was ended
python -m benchmarks.hostile --minutes 5         for so long, of all kinds
python -m benchmarks.hostile --images 500 --models 0 --params 0 --kernels 0

Every file is read in a process of its own that may take 2 GB and ten seconds (_hostile_reader.py). It may be read, or
refused by one line that names it. Damage is plain, knows its format (_hostile_files.py), and is guided: a file that
made code run which no file before had reached is damaged further.
"""

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import _hostile_files, _hostile_models, table
from benchmarks._hostile_seeds import Seed
from srfoundry.core import atomic
from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import bar

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 10.0  # processor seconds for one file; more is a hang
WAITING = 120.0  # seconds that it may wait for something else
ASKED = {"images": 10_000, "params": 2_000, "models": 1_000, "kernels": 1_000}
WATCHED = 4  # every so many files, the lines that run are watched, which takes twice the time
GROWN = 200  # files at most that are damaged further, for each seed


@dataclass
class Found:
    """What became of the files of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    peak: int = 0
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        """Take a file that failed out again, for it to be read anew."""
        before = self.failures.pop(name)
        self.counts.subtract(["files", before["outcome"], *["over_memory"] * before["short"]])

    def note(self, name: str, found: dict[str, Any], *, sound: bool = False) -> bool:
        """Count one file; whether it did what no file may."""
        if not sound:
            self.counts["files"] += 1
            self.counts[found["outcome"]] += 1
        self.counts["over_memory"] += found["short"]
        self.peak = max(self.peak, found.get("peak", 0))
        self.counts["unsound"] += sound and found["outcome"] != "read"
        if found["outcome"] != "hangs":
            self.worst = max(self.worst, found["seconds"])
        bad = found["outcome"] in ("tracebacks", "hangs") or found["short"] or (sound and found["outcome"] != "read")
        if bad:
            self.failures[name] = {key: found[key] for key in ("outcome", "short", "said")}
        return bad


class Reader:
    """The process that reads; its child is replaced where it dies or hangs.

    Args:
        folder: for the files; also of what it says to standard error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.scratch = folder, folder / "scratch"
        self.peak = self.base = self.leaked = 0
        self.scratch.mkdir()
        (self.scratch / "small.onnx").write_bytes(_hostile_models.small_model())
        Image.fromarray(np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)).save(self.scratch / "small.png")
        shutil.copy(REPO / "params.yaml", self.scratch)
        np.save(self.scratch / "kernel.npy", np.full((9, 9), 1 / 81, np.float32))
        answers, theirs = os.pipe()
        self.errors = (folder / "stderr").open("wb")
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec 3>&{theirs} "$0" "$@"',
                sys.executable,
                "-m",
                "benchmarks._hostile_reader",
                self.scratch,
            ],
            cwd=REPO,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.scratch)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            pass_fds=[theirs],
        )
        os.close(theirs)
        self._answers, self._pending = answers, b""
        self._greet()

    def read(self, seed: Seed, name: str, data: bytes, *, watched: bool = False) -> dict[str, Any]:
        """Have one file read: what `_hostile_reader.read` says, and the lines that no file had reached in `fresh`."""
        path = self.folder / name
        path.write_bytes(data)
        assert self._process.stdin
        self._process.stdin.write(json.dumps([seed.reader, str(path), watched]).encode() + b"\n")
        self._process.stdin.flush()
        found = self._answer_in_time()
        while found is not None and found.get("path", str(path)) != str(path):
            found = self._answer_in_time()  # of a file that an earlier child had not taken up when it died
        if found is None:
            os.kill(self._child, 9)
            self._answer(PATIENCE)
            found = {"outcome": "hangs", "seconds": PATIENCE, "said": f"nothing for {PATIENCE} s"}
            self._greet()
        elif "died" in found:
            found = {"outcome": "tracebacks", "seconds": 0.0, "said": f"the process died: {found['died']}"}
            self._greet()
        path.unlink()
        self.peak = max(self.peak, found.get("peak", 0))
        found["short"] = found.get("short", False) or found.get("peak", 0) - self.base > 2**21
        return found

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        """Let the process go; `leaked` then says how many bytes it wrote to standard error."""
        with self._process as process:  # closes its standard input, which ends it, and waits
            assert process.stdin
        os.close(self._answers)
        self.errors.close()
        self.leaked = (self.folder / "stderr").stat().st_size

    def _greet(self) -> None:
        said = self._answer(120.0)
        if said is None or "pid" not in said:
            raise FoundryError(f"the reading process did not start: {(self.folder / 'stderr').read_text()[-300:]}")
        self._child, self.base = said["pid"], max(self.base, said["peak"])

    def _answer_in_time(self) -> dict[str, Any] | None:
        """What the child says; None where it has computed for PATIENCE, or waited much longer."""
        until, before = time.monotonic() + WAITING, self._computed()
        while time.monotonic() < until and self._computed() < before + PATIENCE:
            if (said := self._answer(1.0)) is not None:
                return said
        return None

    def _computed(self) -> float:
        """Processor seconds of the child and of its children that have ended."""
        try:
            fields = Path(f"/proc/{self._child}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has died, which the next answer says
            return 0.0
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        until = time.monotonic() + seconds
        while b"\n" not in self._pending:  # two answers may come in one block
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            self._pending += os.read(self._answers, 2**16) or b'{"ended": 0}\n'
        line, _, self._pending = self._pending.partition(b"\n")
        return json.loads(line)


def mutated(asked: dict[str, int], *, seed: int, minutes: float = 0.0, work: Path | None = None) -> dict[str, Any]:
    """Have so many files of each kind read, the same ones for the same seed.

    Args:
        asked: how many, by kind (`_hostile_files.KINDS`).
        seed: of the damage.
        minutes: after which no further file is read; 0 for no end.
        work: folder to keep what was found in, to go on from there, and files that failed.

    Returns:
        The figures of survival.json.
    """
    until = time.monotonic() + 60 * minutes if minutes else float("inf")
    state = {"found": dict[str, Found](), "leaked": 0, "peak": 0, "base": 0}
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        with Reader(Path(folder)) as reader, bar("hostile files", sum(asked.values())) as progress:
            for number, (kind, count) in enumerate((kind, count) for kind, count in asked.items() if count):
                share = time.monotonic() + (until - time.monotonic()) / (len(asked) - number)
                state["found"][kind] = _course(reader, kind, count, (seed, share, work), progress.update)
        state |= {"leaked": reader.leaked, "peak": reader.peak, "base": reader.base}
    return _figures(**state)


def _course(reader: Reader, kind: str, count: int, way: tuple[int, float, Path | None], tick: Any) -> Found:
    """All files of one kind, from where the last run ended."""
    seed, until, work = way
    seeds, grown = _hostile_files.KINDS[kind](), dict[int, list[bytes]]()
    known = None if work is None else work / f"{kind}-{seed}.json"
    found = _resumed(known)
    reached: set[str] = set()
    if not found.counts:
        for one in seeds:
            if one.sound:
                found.note(one.name, reader.read(one, f"valid_{one.name}", one.data), sound=True)
    for name, kept in [(name, work / name) for name in found.failures] if work is not None else []:
        if kept.is_file():  # it failed in the last run and may be mended by now
            found.forget(name)
            at = int(name.partition("_")[0]) % len(seeds)
            found.note(name, reader.read(seeds[at], name, kept.read_bytes()))
    for index in range(found.counts["files"], count):
        tick(1)
        if time.monotonic() > until:
            break
        rng = random.Random(f"{seed} {kind} {index}")
        at = index % len(seeds)
        one, watched = seeds[at], index // len(seeds) % WATCHED == 0
        bred = grown.setdefault(at, [])
        data = one.change(rng.choice(bred) if bred and rng.random() < 0.5 else one.data, rng)
        name = f"{index:06d}_{one.name}"
        answer = reader.read(one, name, data, watched=watched)
        new = set(answer.get("fresh", ())) - reached
        reached |= new
        if new and len(bred) < GROWN:
            bred.append(data)
        if found.note(name, answer) and work is not None:
            (work / name).write_bytes(data)
        if known is not None and index % 100 == 99:
            _keep(known, found)
    if known is not None:
        _keep(known, found)
    return found


def _resumed(path: Path | None) -> Found:
    if path is None or not path.exists():
        return Found()
    kept = json.loads(path.read_text())
    return Found(Counter(kept["counts"]), kept["worst"], kept.get("peak", 0), kept["failures"])


def _keep(path: Path, found: Found) -> None:
    kept = {"counts": found.counts, "worst": found.worst, "peak": found.peak, "failures": found.failures}
    atomic.write_bytes(path, json.dumps(kept).encode())


def _figures(found: dict[str, Found], leaked: int, peak: int, base: int) -> dict[str, Any]:
    whole: Counter[str] = sum((one.counts for one in found.values()), Counter[str]())
    sums = {name: whole[name] for name in ("files", "read", "refused", "tracebacks", "hangs", "over_memory", "unsound")}
    return {
        **{f"hostile_{name}": value for name, value in sums.items()},
        **{f"hostile_{kind}": one.counts["files"] for kind, one in found.items()},
        "hostile_worst_seconds": round(max(one.worst for one in found.values()), 2),
        "hostile_peak_rss_mb": round(max(peak, *(one.peak for one in found.values())) / 1024),
        "hostile_base_rss_mb": round(base / 1024),
        "hostile_stderr_bytes": leaked,
        "hostile_first_failures": [
            f"{name}: {failure['outcome']}{' (memory)' * failure['short']}: {failure['said']}"
            for one in found.values()
            for name, failure in list(one.failures.items())[:10]
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read them all and merge the figures into survival.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, count in ASKED.items():
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N", help=f"of files (default: {count})")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="after which no further file is read (default: none)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the damage (default: 1)")
    parser.add_argument(
        "--work", type=Path, default=Path(".bench/hostile"), help="where to go on (default: %(default)s)"
    )
    parser.add_argument("--print", action="store_true", dest="only", help="print the figures, leave survival.json")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    asked = {kind: getattr(options, kind) for kind in ASKED}
    figures = mutated(asked, seed=options.seed, minutes=options.minutes, work=options.work)
    if options.only:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    else:
        table.merge("survival", "hostile", figures, threads=1)


if __name__ == "__main__":
    table.run(main)
