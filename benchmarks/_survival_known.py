"""What the stages of trials do when nothing happens to them: seconds, files that they write, parts that they keep."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import _survival_runs as runs
from benchmarks._survival_imports import preload
from benchmarks._survival_project import Finished, programs
from benchmarks._survival_runs import Disturbance, Ended
from srfoundry.core.errors import FoundryError

PARTS = ("evaluate", "export")  # stages that keep each finished part, of which there are many
Fork = Callable[[str, Path, Disturbance], Ended]
Row = dict[str, Any]


@dataclass(frozen=True)
class Undisturbed:
    """What a stage does when nothing happens to it.

    Attributes:
        seconds: as a fork.
        writes: files that it writes, renames or removes.
    """

    seconds: float
    writes: int


def learn(
    project: Finished, stages: Sequence[str], rows: Sequence[Row], fork: Fork, note: Callable[[Row], None]
) -> dict[str, Undisturbed]:
    """Import what the stages import, and know of each how long it takes as a fork, and how often it writes.

    What they import a first run of each says, which the next one then has; what a fork of the process that has it all
    writes must be the same.

    Args:
        project: the undisturbed one.
        stages: of it.
        rows: of the journal; who stands in it with today's programs is not run again.
        fork: runs a stage in a folder.
        note: takes a row for the journal.
    """
    known, found = project.trials.with_name("modules.json"), dict[str, Undisturbed]()
    modules: dict[str, list[str]] = json.loads(known.read_text()) if known.exists() else {}
    preload(sorted({name for names in modules.values() for name in names}))
    for stage in stages:
        if stage not in modules:
            modules[stage] = _undisturbed(project, stage, fork)["modules"]
            known.write_text(json.dumps(modules))
            preload(sorted(modules[stage]))
    ours = programs()
    before = {row["stage"]: row for row in rows if row.get("programs") == ours}
    for stage in stages:
        row = before.get(stage)
        if row is None:
            noted = _undisturbed(project, stage, fork)
            row = {key: noted[key] for key in ("seconds", "writes")}
            note({"kind": "undisturbed", "stage": stage, "different": [], "programs": ours} | row)
            _keep(project, stage, fork)
        found[stage] = Undisturbed(row["seconds"], row["writes"])
    return found


def _undisturbed(project: Finished, stage: str, fork: Fork) -> Row:
    """Seconds, writes and modules of a stage to which nothing happens.

    Raises:
        FoundryError: its bytes are others than those of `dvc repro`.
    """
    with project.trial() as root:
        project.copy(root, stage, former=False)
        noted = root.with_name("noted.json")
        ended = fork(stage, root, Disturbance(hook=runs.count_writes(noted)))
        if ended.code or project.differing(root, stage):
            raise FoundryError(f"{stage} undisturbed gives other bytes than before; remove {root.parent.parent}")
        return json.loads(noted.read_text()) | {"seconds": ended.seconds}


def _keep(project: Finished, stage: str, fork: Fork) -> None:
    """Keep the finished parts that a stage removes at its end, for trials to begin with."""
    kept = project.kept / stage
    shutil.rmtree(kept, ignore_errors=True)
    if stage in PARTS:
        with project.trial() as root:
            project.copy(root, stage, former=False)
            fork(stage, root, Disturbance(hook=runs.keep_parts(root / ".ckpt" / stage, kept)))
