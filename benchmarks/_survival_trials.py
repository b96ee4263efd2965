"""The trials of `benchmarks.survival`, one after another in one process of one thread, each written to the journal.

python -m benchmarks._survival_trials ORDER.json     in the folder of the finished project
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import _survival_runs as runs
from benchmarks._survival_commands import COMMAND, interrupted
from benchmarks._survival_faults import FAULTS, Trial
from benchmarks._survival_journal import SAID, Order, kept, read, sentences
from benchmarks._survival_known import Undisturbed, learn
from benchmarks._survival_project import Finished
from benchmarks._survival_runs import Disturbance, Ended
from benchmarks._survival_sender import Standing, nothing, taken
from pipelines.support.locks import locked
from srfoundry.core.errors import FoundryError

DISTURBED_TWICE = 0.4  # of the kills come to a stage that was killed before
BY_WRITES = 0.5  # of the kills come before a file is written, renamed or removed; the others at any moment
OWN, DVC = 0.06, 0.06  # shares of trials as processes of their own, and under `dvc repro`
OWN_SENDER = 0.1  # share of trials without a server in which the stage starts the sender itself, as always elsewhere
TRIES = 5  # trials for each kill that is wanted
SAY = 30.0  # seconds between two lines that say how far the trials are


class Trials:
    """All trials in one finished project."""

    def __init__(self, project: Finished, order: Order) -> None:
        self.project = project
        self.order = order
        self.journal = Path(order.journal)
        self.rows = read(self.journal)
        self.stages = [stage for stage in project.stages if stage in (order.stages or project.stages)]
        self.stages = [stage for stage in self.stages if stage != "environment"]
        self.known: dict[str, Undisturbed] = {}
        self.standing = Standing()
        shutil.rmtree(project.trials, ignore_errors=True)

    def work(self) -> None:
        """Do what the journal lacks, until it is done or the time is over."""
        if next(self._waiting(), None):
            self.known = learn(self.project, self.stages, self.rows, self._fork, self._note)
        began = said = time.monotonic()
        for kind, stage, number in self._waiting():
            rng, start = random.Random(f"{self.order.seed} {kind} {stage} {number}"), time.monotonic()
            try:
                row = self._kill(stage, rng) if kind == "kill" else self._fault(kind, stage, rng)
            except (OSError, subprocess.CalledProcessError) as error:  # of the trial itself: counted as lost, and seen
                row = {"kind": kind, "stage": stage, "kills": 0, "way": "none", "code": 1, "after": 1, "named": False}
                row |= {"different": [str(error)], "lost": [str(error)], "waited": 0.0, "said": traceback.format_exc()}
            now = time.monotonic()
            self._note(row | {"took": round(now - start, 2)})
            if now - began > 60.0 * self.order.minutes:
                break
            if now - said > SAY:  # no bar of tqdm, which starts a thread: this process is forked
                said = now
                kills = sum(each.get("kills", 0) for each in self.rows)
                faults = sum(each["kind"] in FAULTS for each in self.rows)
                whole = self.order.faults * len(self.stages) * len({*(self.order.only or FAULTS)} - {COMMAND})
                sys.stdout.write(f"{kills} of {self.order.kills} kills, {faults} of {whole} other faults\n")
                sys.stdout.flush()
        else:
            self._commands()

    def _commands(self) -> None:
        """Interrupt commands, if nothing less was asked for, or they were."""
        done = Counter(row["stage"] for row in self.rows if row["kind"] == COMMAND)
        asked = COMMAND in self.order.only if self.order.only else not self.order.stages
        times = self.order.faults if asked else 0
        for row in interrupted(self.project, times, self.order.seed, done):
            self._note(row)

    def _waiting(self) -> Iterator[tuple[str, str, int]]:
        """Kind, stage and number of each trial that is still to be made: kills first, faults in turns after them.

        A kill that comes too late is none, and is tried again at another moment, but not for ever.
        """
        each = -(-self.order.kills // len(self.stages))
        for _ in range(TRIES * each):
            for stage in self.stages:
                trials, kills = self._done("kill", stage)
                if kills < each:
                    yield "kill", stage, trials
        kinds = [kind for kind in self.order.only or FAULTS if kind != COMMAND]
        for number in range(self.order.faults if kinds else 0):
            for stage in self.stages:
                for kind in kinds:
                    if self._done(kind, stage)[0] <= number:
                        yield kind, stage, number

    def _done(self, kind: str, stage: str) -> tuple[int, int]:
        """Trials so far, and kills in them."""
        rows = [row for row in self.rows if row["kind"] == kind and row["stage"] == stage]
        return len(rows), sum(row.get("kills", 0) for row in rows)

    def _kill(self, stage: str, rng: random.Random) -> dict[str, Any]:
        """Kill a stage once or twice, let it end, and compare."""
        known = self.known[stage]
        way = rng.choices(["fork", "process", "dvc"], [1 - OWN - DVC, OWN, DVC])[0]
        kills, moments = 0, []
        with self.project.trial() as root:
            self.project.copy(root, stage, former=rng.random() < 0.5)
            for _ in range(1 + (rng.random() < DISTURBED_TWICE)):
                by_writes = way == "fork" and rng.random() < BY_WRITES
                if by_writes:
                    moments.append(rng.randint(1, known.writes))
                    ended = self._run(way, stage, root, Disturbance(hook=runs.kill_at_write(moments[-1])))
                else:
                    start = {"fork": 0.0, "process": 6.0, "dvc": 9.0}[way]
                    moments.append(rng.uniform(0.0, known.seconds + start))
                    ended = self._run(way, stage, root, Disturbance(moments[-1], runs.send(signal.SIGKILL)))
                kills += ended.code == -signal.SIGKILL
            ended = self._run(way, stage, root, Disturbance())
            wrong = self.project.differing(root, stage) + self.project.harmed(root, stage)
        row = {"kind": "kill", "stage": stage, "way": way, "kills": kills, "moments": moments, "different": wrong}
        return row | {"code": ended.code} | kept(ended, bool(wrong) or ended.code != 0)

    def _fault(self, fault: str, stage: str, rng: random.Random) -> dict[str, Any]:
        """Let a fault come to a stage, look at what it left, run it again, and compare."""
        known = self.known[stage]

        def alone(more: Mapping[str, str]) -> Ended:
            with (
                nullcontext()
                if rng.random() < OWN_SENDER
                else self.standing.sends(root, self.project.environment(self.project.root))
            ):
                return self._fork(stage, root, Disturbance(), more, taking=False)

        with self.project.trial() as root:
            trial = Trial(
                self.project,
                root,
                stage,
                rng,
                known.seconds,
                lambda disturbance: self._fork(stage, root, disturbance),
                alone,
            )
            with FAULTS[fault](trial) as ended:
                lost = self.project.harmed(root, stage)
                after = self._fork(stage, root, Disturbance())
                self.known[stage] = replace(known, seconds=(known.seconds + after.seconds) / 2)  # as the load changes
                lost += self.project.differing(root, stage) + [
                    str(trial.notes[key]) for key in trial.notes if key == "lost"
                ]
        named = sentences(ended)
        row = {"kind": fault, "stage": stage, "code": ended.code, "lost": sorted(set(lost)), "after": after.code}
        row |= {"waited": round(ended.waited, 3), "named": named, "notes": trial.notes}
        wrong = bool(lost) or not named or after.code != 0
        return row | kept(ended, wrong) | ({"said_after": after.said[-SAID:]} if after.code else {})

    def _run(self, way: str, stage: str, root: Path, disturbance: Disturbance) -> Ended:
        if way == "fork":
            return self._fork(stage, root, disturbance)
        environment = self.project.environment(root)
        command = {
            "process": [sys.executable, "-m", *self.project.command(stage)],
            "dvc": [sys.executable, "-m", "dvc", "repro", "--single-item", stage],
        }[way]
        with taken(root) as meanwhile:
            return runs.start(command, root, environment, disturbance, meanwhile)

    def _fork(
        self,
        stage: str,
        root: Path,
        disturbance: Disturbance,
        more: Mapping[str, str] | None = None,
        *,
        taking: bool = True,
    ) -> Ended:
        environment = self.project.environment(root) | dict(more or {})
        with taken(root) if taking else nullcontext(nothing) as meanwhile:
            return runs.fork(self.project.command(stage), root, environment, disturbance, meanwhile)

    def _note(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.journal.open("a") as file:
            file.write(json.dumps(row) + "\n")


def main(arguments: Sequence[str]) -> None:
    """Work through an order."""
    root = Path.cwd()
    busy = f"trials already run in {root.parent}; wait for them, or stop them"
    try:
        with locked(root.with_name("trials.lock"), busy):
            Trials(Finished(root), Order.read(Path(arguments[0]))).work()
    except FoundryError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")


if __name__ == "__main__":
    main(sys.argv[1:])
