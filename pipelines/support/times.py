"""How long each stage took the last time that it ran here, for the report: a small file a stage in .ckpt/times."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from srfoundry.core.atomic import write_bytes

FOLDER = Path(".ckpt") / "times"
BEGAN = "began"  # of the last reproduction
MODEL = "model name"  # of /proc/cpuinfo


@dataclass(frozen=True)
class Took:
    """One run of a stage.

    Attributes:
        seconds: wall-clock time.
        ended: seconds since 1970.
        processor: its model.
        threads: of the stage.
        device: where it computed.
    """

    seconds: float
    ended: float
    processor: str
    threads: int
    device: str


def note(root: Path, stage: str, seconds: float, *, threads: int, device: str) -> None:
    """Write what a run took; a full disk costs the report this line and nothing else."""
    took = Took(round(seconds, 2), round(time.time(), 2), processor(), threads, device)
    try:
        write_bytes(root / FOLDER / f"{stage}.json", json.dumps(asdict(took)).encode())
    except OSError:
        return


def read(root: Path, stage: str) -> Took | None:
    """What the last run of a stage took, None where no run was noted."""
    try:
        return Took(**json.loads((root / FOLDER / f"{stage}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def processor() -> str:
    """The processor's model, and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(MODEL)), model)
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def begin(root: Path) -> None:
    """Note that a reproduction of the whole begins: what ends from now on ran in it."""
    try:
        write_bytes(root / FOLDER / BEGAN, str(time.time()).encode())
    except OSError:
        return


def began(root: Path) -> float:
    """When the last reproduction began, seconds since 1970; 0 where there was none."""
    try:
        return float((root / FOLDER / BEGAN).read_text())
    except (OSError, ValueError):
        return 0.0
