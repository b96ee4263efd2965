"""What the trials of `benchmarks.survival` are asked to do, and what they write down, a line each."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._survival_runs import Ended

SAID = 1500  # characters of what a run said that are kept where something was wrong


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Args:
        kills: SIGKILLs over all stages.
        faults: times that each other fault comes to each stage.
        stages: names; all if empty.
        only: names of faults; all if empty.
        seed: of the moments.
        minutes: after which no further trial begins.
        journal: a file with a line a trial; what stands in it is not done again.
    """

    kills: int
    faults: int
    stages: list[str]
    only: list[str]
    seed: int
    minutes: float
    journal: str

    def write(self, path: Path) -> None:
        """Write it down."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Order":
        """What was written down."""
        return cls(**json.loads(path.read_text()))


def read(journal: Path) -> list[dict[str, Any]]:
    """The rows of a journal, empty where there is none."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines]


def sentences(ended: Ended) -> bool:
    """Whether a run that failed said why in one sentence, and none that ended well has a traceback."""
    lines = [line for line in re.split(r"[\r\n]+", ended.said) if line.strip()]
    if ended.hangs or any("Traceback (most recent call last)" in line for line in lines):
        return False
    if ended.code == 0:
        return True
    return sum(line.startswith(("error: ", "stopped; ")) or ": stopped; " in line for line in lines) == 1


def kept(ended: Ended, wrong: bool) -> dict[str, str]:
    """What a run said, where something was wrong."""
    return {"said": ended.said[-SAID:]} if wrong else {}
