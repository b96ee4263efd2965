"""Scores of single images, kept under benchmarks/results as they come, and the figures that follow from them.

Figures are always computed from all images that are kept, so that a table may be filled by many runs.
"""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from srfoundry.blind.estimators import ESTIMATORS

WORSE = -0.1  # dB under aligned bicubic, from which an image counts as made worse
# Which `auto` chooses among, or could; `released` is its authors' program, for comparison alone.
RIVALS = ("bicubic", *(name for name in ESTIMATORS if name not in ("auto", "released")))


@dataclass(frozen=True)
class Score:
    """What a method made of one image: dB, seconds, and whatever words it said about it."""

    psnr_y: float
    bicubic: float
    seconds: float
    kernel_psnr: float = math.nan
    said: str = ""

    @property
    def gain(self) -> float:
        """Over aligned bicubic, dB."""
        return self.psnr_y - self.bicubic


@dataclass
class Scores:
    """All that is known, by test (SET_xS_CLASS), method and image.

    Attributes:
        file: blind.json.
        seed: of the run; scores of another seed make way.
        found: test, method -> image -> score.
        others: figures that come from no image.
    """

    file: Path
    seed: int
    found: dict[tuple[str, str], dict[str, Score]] = field(default_factory=dict)
    seeds: dict[tuple[str, str], int] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path, seed: int) -> "Scores":
        """Read what earlier runs left; figures of theirs without images stay as they are."""
        kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        scores = cls(file, seed)
        for row in kept.pop("images", []):
            key = row["test"], row["method"]
            scores.seeds[key] = row["seed"]
            scores.found[key] = {name: Score(**score) for name, score in row["scores"].items()}
        kept.pop("machine", None)
        scores.others = kept
        return scores

    def has(self, test: str, method: str, image: str) -> bool:
        """Whether a score of this seed is known."""
        return self.seeds.get((test, method)) == self.seed and image in self.found[test, method]

    def add(self, test: str, method: str, image: str, score: Score) -> None:
        """Remember one image's score."""
        key = test, method
        if self.seeds.setdefault(key, self.seed) != self.seed:
            self.seeds[key], self.found[key] = self.seed, {}
        self.found.setdefault(key, {})[image] = score

    def keep(self, *, threads: int) -> None:
        """Write figures, rows and images to the file, with the machine."""
        images = [
            {"test": test, "method": method, "seed": self.seeds[test, method], "scores": _plain(scores)}
            for (test, method), scores in sorted(self.found.items())
        ]
        whole = {**self.figures(), "rows": self.rows(), "images": images, "machine": table.machine(threads)}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(whole, indent=1) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """A row for each test and method; those of earlier runs without images first."""
        known = {(test, method) for test, method in self.found}
        older = [row for row in self.others.get("rows", []) if (row["set"], row["method"]) not in known]
        return older + [_row(test, method, list(scores.values())) for (test, method), scores in self.found.items()]

    def figures(self) -> dict[str, Any]:
        """Keys SET_xS_CLASS.METHOD.FIGURE, and those over all classes."""
        found = {key: value for key, value in self.others.items() if key != "rows"}
        for (test, method), scores in self.found.items():
            row = _row(test, method, list(scores.values()))
            found[f"{test}.{method}.seconds"] = row["s"]
            for figure in ("psnr_y", "gain", "median_gain", "worst_gain"):
                found[f"{test}.{method}.{figure}"] = row[figure]
            if "kernel_psnr" in row:
                found[f"{test}.{'mean' if method == 'bicubic' else method}.kernel_psnr"] = row["kernel_psnr"]
        for method in dict.fromkeys(method for _, method in self.found if method != "bicubic"):
            gains = [score.gain for (_, by), scores in self.found.items() if by == method for score in scores.values()]
            short = method.removesuffix("auto")
            whole = f"{short.removesuffix('_')}." if short else ""
            place = whole if method.endswith("auto") else f"{method}."
            found[f"{place}made_worse_share"] = round(sum(gain < WORSE for gain in gains) / len(gains), 4)
            if method.endswith("auto"):
                found[f"{whole}auto_below_best"] = self.below_best(short)
        return found

    def below_best(self, prefix: str) -> float:
        """By how much `auto` stays below the better of the methods on the same images, dB, in the worst test."""
        below = [0.0]
        for (test, method), scores in self.found.items():
            if method != f"{prefix}auto":
                continue
            rivals = [self.found.get((test, by if by == "bicubic" else f"{prefix}{by}"), {}) for by in RIVALS]
            means = [_mean(rival, scores) for rival in rivals if scores.keys() <= rival.keys()]
            below.append(max([*means, -math.inf]) - _mean(scores, scores))
        return round(max(below), 3)


def _mean(scores: Mapping[str, Score], names: Mapping[str, Score]) -> float:
    return statistics.fmean(scores[name].psnr_y for name in names)


def _row(test: str, method: str, scores: list[Score]) -> dict[str, Any]:
    gains = [score.gain for score in scores]
    row: dict[str, Any] = {
        "set": test,
        "method": method,
        "images": len(scores),
        "psnr_y": statistics.fmean(score.psnr_y for score in scores),
        "gain": statistics.fmean(gains),
        "median_gain": statistics.median(gains),
        "worst_gain": min(gains),
        "s": statistics.median(score.seconds for score in scores),
    }
    kernel = float(np.mean([score.kernel_psnr for score in scores]))
    row |= {} if math.isnan(kernel) else {"kernel_psnr": kernel}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def _plain(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """As JSON holds them: what is not known is left out."""
    return {
        name: {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(score).items()
            if value != "" and not (isinstance(value, float) and math.isnan(value))
        }
        for name, score in scores.items()
    }
