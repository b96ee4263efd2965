"""What the report of a run is made of: plain values that whoever ran the pipeline collects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ran", "up to date", "never ran"]


@dataclass(frozen=True)
class StageShown:
    """A stage of the graph.

    Attributes:
        name: as dvc.yaml has it.
        parents: stages whose outputs it reads.
        state: what the last reproduction did with it.
        seconds: that its last run took; None where it is not known.
        ended: when that was, local time.
        machine: processor, threads and device of that run.
    """

    name: str
    parents: Sequence[str]
    state: State
    seconds: float | None = None
    ended: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Change:
    """A figure now and at the last commit; None where it was not there."""

    name: str
    now: float | str | None
    before: float | str | None

    @property
    def moved(self) -> bool:
        """Whether it is another one."""
        return self.now != self.before

    @property
    def difference(self) -> str:
        """How much it moved, signed; empty where that is no number."""
        numbers = isinstance(self.now, (int, float)) and isinstance(self.before, (int, float))
        return f"{self.now - self.before:+.4g}" if numbers and self.moved else ""  # pyright: ignore[reportOperatorIssue]


@dataclass(frozen=True)
class Quality:
    """A model on a test set.

    Attributes:
        psnr: PSNR-Y in dB, mean of the photographs.
        gain: over bicubic on the original's grid, dB.
        worst: least gain of a photograph, dB, and its name.
        ssim: SSIM-Y, mean.
    """

    model: str
    psnr: float
    gain: float
    worst: str
    ssim: float | None


@dataclass(frozen=True)
class Curve:
    """A stage's curves.

    Attributes:
        stage: its name.
        rows: with `step` and values.
        validation: what the net reached on the validation photographs at the end, in words.
    """

    stage: str
    rows: Sequence[Mapping[str, float]]
    validation: str = ""


@dataclass(frozen=True)
class Pair:
    """Two images of one size for a slider, as data addresses."""

    title: str
    left: str
    right: str
    left_caption: str
    right_caption: str


@dataclass(frozen=True)
class Picture:
    """A picture that a stage wrote, as a data address."""

    title: str
    source: str


@dataclass(frozen=True)
class Member:
    """An exported model.

    Attributes:
        seconds: for one image of 128 x 128 low-resolution pixels, ONNX Runtime, median; None where not measured.
        macs: multiply-adds for 96 x 96 low-resolution pixels.
        parity: largest difference to PyTorch, range [0, 1].
    """

    name: str
    made_by: str
    trained_on: str
    parameters: int
    macs: int | None
    bytes: int
    seconds: float | None
    psnr: float | None
    parity: float | None


@dataclass(frozen=True)
class RunReport:
    """All of it.

    Attributes:
        title: of the project's folder.
        facts: lines of name and value: commit, date, processor, versions.
        changed: what differs from the last commit: files, and values of params.yaml.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    stages: Sequence[StageShown]
    key_figures: Sequence[Change]
    figures: Sequence[Change]
    quality: Mapping[str, Sequence[Quality]]
    curves: Sequence[Curve]
    pairs: Sequence[Pair]
    pictures: Sequence[Picture]
    members: Sequence[Member]
    members_note: str = ""
    changed: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
