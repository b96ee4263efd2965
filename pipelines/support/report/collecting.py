"""Everything that a report shows, from the project's folder: stages, figures, curves, pictures, models, changes."""

import csv
import json
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.support import times
from pipelines.support.graph import Graph, folder_of
from pipelines.support.report import figures, pictures
from pipelines.support.telemetry import CODE, git_state
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.reporting.run.contents import Curve, Member, RunReport, StageShown
from srfoundry.runtime.session import Session

SIDE, ROUNDS = 128, 3  # low-resolution pixels a side of the image that each model is timed with, and how often
MOST = 60  # changed files that are listed


def collected(root: Path, params: Params) -> RunReport:
    """The report of a project's folder as it is.

    Args:
        root: the folder.
        params: its values.
    """
    graph = Graph(root)
    threads = params.shared.threads
    return RunReport(
        title=root.name,
        facts=_facts(root, params),
        stages=_stages(root, graph),
        key_figures=figures.key_figures(root),
        figures=figures.all_figures(root, graph.order()),
        quality=figures.quality(root),
        curves=_curves(root, graph.order()),
        pairs=pictures.pairs(root, threads=threads),
        pictures=pictures.written(root),
        members=_members(root, threads),
        members_note=f"Seconds: ONNX Runtime, an image of {SIDE} x {SIDE} low-resolution pixels, median of {ROUNDS}, "
        f"{threads} threads, {times.processor()}. Multiply-adds: for 96 x 96. PSNR: on the test set named in `for`.",
        changed=_changed(root),
        versions=_versions(root),
    )


def _facts(root: Path, params: Params) -> list[tuple[str, str]]:
    state = git_state(root)
    commit = state["git.commit"][:10] or "none"
    dirty = " with changes" if state["git.dirty"] == "true" else ""
    shared = params.shared
    return [
        ("written", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
        ("commit", commit + dirty),
        ("scale", str(shared.scale)),
        ("seed", str(shared.seed)),
        ("threads", str(shared.threads)),
        ("device", shared.device),
        ("processor", times.processor()),
    ]


def _stages(root: Path, graph: Graph) -> list[StageShown]:
    began = times.began(root)
    found = []
    for name in graph.order():
        took = times.read(root, name)
        made = all((root / path).exists() for path in graph.outputs(name))
        state = "never ran" if not made else "ran" if took and took.ended >= began else "up to date"
        ended = "" if took is None else datetime.fromtimestamp(took.ended).astimezone().strftime("%Y-%m-%d %H:%M")
        machine = "" if took is None else f"{took.processor}, {took.threads} threads, {took.device}"
        seconds = None if took is None else took.seconds
        found.append(StageShown(name, graph.parents(name), state, seconds, ended, machine))
    return found


def _curves(root: Path, stages: Sequence[str]) -> list[Curve]:
    found = []
    for stage in stages:
        path = root / "results" / folder_of(stage) / "curves.csv"
        if not path.is_file():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
        found.append(Curve(stage, rows, _validation(figures.metrics(root, stage))))
    return found


def _validation(metrics: Mapping[str, Any]) -> str:
    reached = metrics.get("validation")
    if not isinstance(reached, Mapping) or "psnr_y" not in reached:
        return ""
    return f"validation: {reached['psnr_y']:.2f} dB, {reached.get('gain_db', 0.0):+.2f} dB over bicubic"


def _members(root: Path, threads: int) -> list[Member]:
    exported, evaluated = (figures.metrics(root, stage) for stage in ("export", "evaluate"))
    found = []
    for path in sorted((root / "exports").glob("*.onnx")):
        try:
            session = Session(path, threads=threads, device="cpu")
        except FoundryError:  # a stranger's file
            continue
        card, name = session.card, session.card.name
        found.append(
            Member(
                name=name,
                made_by=card.made_by,
                trained_on=card.judged_on,
                parameters=card.parameters,
                macs=evaluated.get("macs_96x96", {}).get(name),
                bytes=path.stat().st_size,
                seconds=_seconds(session),
                psnr=evaluated.get(card.judged_on, {}).get(name, {}).get("psnr_y"),
                parity=exported.get(name, {}).get("parity_max_abs"),
            )
        )
    return found


def _seconds(session: Session) -> float:
    image = np.full((1, session.card.channels, SIDE, SIDE), 0.5, np.float32)
    taken = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        session.run(image)
        taken.append(time.perf_counter() - began)
    return round(statistics.median(taken[1:]), 4)


def _changed(root: Path) -> list[str]:
    """What git says of code and values, and the lines of params.yaml that are others."""
    values = [
        line
        for line in _git(root, "diff", "HEAD", "--unified=0", "--", "params.yaml")
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    files = _git(root, "status", "--porcelain", "--", *CODE)
    lines = [*files, *values]
    return [*lines[:MOST], f"... and {len(lines) - MOST} more"] if len(lines) > MOST else lines


def _git(root: Path, *words: str) -> list[str]:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # not installed: a project that came as an archive needs none
        return []
    return done.stdout.splitlines()


def _versions(root: Path) -> dict[str, str]:
    try:
        return json.loads((root / "results" / "environment" / "versions.json").read_text())
    except (OSError, ValueError):
        return {}
