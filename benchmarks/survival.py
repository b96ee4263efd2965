"""Does anything get lost? Every stage of the tiny graph, killed and otherwise disturbed at random, and compared.

    python -m benchmarks.survival                          200 kills, each other fault ten times in each stage
    python -m benchmarks.survival --minutes 10             what can be done in so long; the next call goes on from there
    python -m benchmarks.survival --kills 20 --faults 0 --stages dual export
    python -m benchmarks.survival --report                 the figures of the journal so far

Works in runs/survival (--folder): the finished graph, a line a trial in journal.jsonl. All runs are seeded.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks._survival_commands import COMMAND
from benchmarks._survival_faults import FAULTS
from benchmarks._survival_journal import Order, read
from benchmarks._survival_project import REPO, Finished


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the trials of a journal come to."""
    kills = [row for row in rows if row["kind"] == "kill"]
    faults = [row for row in rows if row["kind"] not in ("kill", "undisturbed")]
    waited = [row["waited"] for row in faults if row["kind"] in ("ctrl_c", COMMAND) and row["waited"]]
    by_command = {
        row["stage"]: max(
            each["waited"] for each in faults if each["kind"] == COMMAND and each["stage"] == row["stage"]
        )
        for row in faults
        if row["kind"] == COMMAND
    }
    pairs = {kind: counts for kind in FAULTS if any((counts := by_stage(rows, kind)).values())}
    ended = [row["waited"] for row in faults if row["kind"] == "sigterm" and row["waited"]]
    return {
        "kills": sum(row["kills"] for row in kills),
        "kills_different_bytes": sum(bool(row["different"]) or row["code"] != 0 for row in kills),
        "kills_by_way": dict(sum((Counter({row["way"]: row["kills"]}) for row in kills), Counter())),
        "kills_by_stage": dict(sum((Counter({row["stage"]: row["kills"]}) for row in kills), Counter())),
        "faults": sum(row["kind"] in FAULTS for row in faults),
        "faults_kinds": len(pairs),
        "faults_least": min((min(each.values()) for each in pairs.values()), default=0),
        "faults_by_stage": pairs,
        "faults_lost": sum(bool(row["lost"]) or row["after"] != 0 for row in faults),
        "faults_tracebacks": sum(not row["named"] and row["code"] >= 0 for row in faults),
        "faults_crashes": sum(not row["named"] and row["code"] < 0 for row in faults),
        "ctrl_c_seconds": max(waited, default=0.0),
        "ctrl_c_seconds_by_command": by_command,
        "ctrl_c_seconds_median": statistics.median(waited) if waited else 0.0,
        "sigterm_seconds": max(ended, default=0.0),
        "stages": len({row["stage"] for row in rows if row["kind"] == "undisturbed"}),
        "commands": len({row["stage"] for row in rows if row["kind"] == "command"}),
        "telemetry_lost": sum("lost" in row.get("notes", {}) for row in faults),
    }


def by_stage(rows: list[dict[str, Any]], kind: str) -> dict[str, int]:
    """Trials of a kind by stage, of all stages that were run undisturbed; of commands, by command."""
    found = Counter(row["stage"] for row in rows if row["kind"] == kind)
    stages = [] if kind == COMMAND else [row["stage"] for row in rows if row["kind"] == "undisturbed"]
    return {stage: found[stage] for stage in dict.fromkeys([*stages, *found])}


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a fault."""
    found = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        these = [row for row in rows if row["kind"] == kind]
        wrong = [row for row in these if row.get("different") or row.get("lost") or row.get("after", row.get("code"))]
        failed = [row for row in these if row.get("code")]
        found.append(
            {
                "fault": kind,
                "trials": len(these),
                "of which failed": len(failed),
                "lost": len(wrong),
                "tracebacks or crashes": sum(not row.get("named", True) for row in these),
                "least a stage": min(by_stage(rows, kind).values()),
            }
        )
    return found


def main() -> None:
    """Go on with the trials, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kills", type=int, default=200, help="over all stages (default: %(default)s)")
    add("--faults", type=int, default=10, help="times a stage that each other fault comes (default: %(default)s)")
    add("--stages", nargs="*", default=[], metavar="STAGE", help="as in dvc.yaml (default: all)")
    kinds = [*FAULTS, COMMAND]
    add("--only", nargs="*", default=[], choices=kinds, metavar="FAULT", help=f"of {', '.join(kinds)}")
    add("--minutes", type=float, default=1e6, help="after which no further trial begins")
    add("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    add("--folder", type=Path, default=REPO / "runs" / "survival", help="to work in (default: runs/survival)")
    add("--report", action="store_true", help="no trials")
    options = parser.parse_args()
    folder = options.folder.resolve()
    journal = folder / "journal.jsonl"
    if not options.report:
        project = Finished.make(folder / "finished")
        order = Order(
            **{key: getattr(options, key) for key in ("kills", "faults", "stages", "only", "seed", "minutes")},
            journal=str(journal),
        )
        order.write(folder / "order.json")
        command = [sys.executable, "-m", "benchmarks._survival_trials", str(folder / "order.json")]
        environment = os.environ | project.environment(project.root)
        if code := subprocess.run(command, cwd=project.root, env=environment, check=False).returncode:
            sys.exit(code)
    rows = read(journal)
    table.merge("survival", "survival", {**figures(rows), "survival_rows": table_of(rows)}, threads=1)


if __name__ == "__main__":
    table.run(main)
