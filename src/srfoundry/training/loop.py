"""The one training loop: steps, checkpoints, curves and the stop at a loss or weights that are not finite."""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.core.compute import is_gpu
from srfoundry.core.errors import Diverged
from srfoundry.core.progress import above, bar
from srfoundry.core.state import Resumption, Stateful

Step = Callable[[int], Mapping[str, Tensor | float]]

SAVE_SECONDS = 20.0  # between two checkpoints, longer where one takes long; 0 = one after each step
SAVE_SHARE = 0.015  # of the time that checkpoints may take, as far as what a kill may cost allows
ROWS = 100  # points of a training curve
UNREAD = 20  # steps on a GPU whose losses are read together: each reading waits for it


class RowMeans:
    """Means of named values since the last row of a curve; part of a checkpoint, which may fall between two rows."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def add(self, values: Mapping[str, float]) -> None:
        """Take one step's values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] += 1

    def take(self) -> dict[str, float]:
        """The means, and begin again."""
        row = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.load_state_dict({"sums": {}, "counts": {}})
        return row

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up sums and counts."""
        self.sums, self.counts = dict(state_dict["sums"]), Counter(state_dict["counts"])


class Pace:
    """When checkpoints come: seldom enough to cost little, often enough that a kill costs no more than it may.

    The clock decides when they are written and nothing else.

    Args:
        most: seconds of work that a kill may cost.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._saved = self._stepped = time.monotonic()
        self._cost = self._step = 0.0  # seconds that the last checkpoint took, and the longest step since

    def step(self) -> None:
        """Note that a step has ended."""
        now = time.monotonic()
        self._step, self._stepped = max(self._step, now - self._stepped), now

    def due(self) -> bool:
        """Whether one is to be written before the next step.

        What is lost at most is the time since the last one, one more step, and the time that writing takes. A training
        goes on for as long as writing takes in any case.
        """
        since = time.monotonic() - self._saved
        pause = max(min(SAVE_SECONDS, self._most / 3), self._cost / SAVE_SHARE) if SAVE_SECONDS > 0 else 0.0
        return since >= min(pause, max(self._most - self._step - self._cost, self._cost))

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Within, one is written."""
        began = time.monotonic()
        yield
        self._saved = self._stepped = time.monotonic()
        self._cost, self._step = self._saved - began, 0.0


def fit(
    step: Step, *, steps: int, state: Mapping[str, Stateful], resumption: Resumption, title: str
) -> list[dict[str, float]]:
    """Run `step(i)` for every i below `steps`, resuming where a killed run stopped, and return the curve.

    A step must draw everything random from a generator seeded with i; then a resumed run ends with the same bytes.
    Checkpoints come by time, between any two steps: a kill costs `resumption.seconds` at most, whatever the budget.
    Losses on a GPU are read `UNREAD` steps together, and before every row and checkpoint.

    Args:
        step: trains once and returns named losses, the same in all processes; none may be NaN or infinite, but of a
            batch whose `skipped` is 1, of which no other is a point of the curve.
        state: everything that a step changes.
        resumption: where the state is kept meanwhile, and who watches the curve.
        title: of the progress bar.

    Returns:
        Rows of the curve: `step`, and the mean of each loss since the row before, where a step returned it.

    Raises:
        Diverged: a loss is NaN or infinite, or a weight when a checkpoint is due; the last good one is kept.
    """
    means = RowMeans()
    state = {**state, "row": means}
    done, history = resumption.load(state)
    if 0 < steps <= done and resumption.processes.first:
        above(f"{title}: finished before; its {done} steps are taken from {resumption.path}", sys.stderr)
    every = max(1, steps // ROWS)
    pace = Pace(resumption.seconds)
    unread: list[dict[str, Tensor | float]] = []
    with bar(title, steps, start=done) as progress:
        for index in range(done, steps):
            unread.append(_kept(step(index)))
            pace.step()
            last = index + 1 == steps
            # the clocks of several processes differ
            saves = last or resumption.processes.decides(pace.due())
            ends_row = last or (index + 1) % every == 0
            if saves or ends_row or len(unread) >= UNREAD or not _on_gpu(unread[-1]):
                for place, values in enumerate(_read(unread), index + 1 - len(unread)):
                    _check_finite(values, place, title, resumption)
                    means.add(values)
                unread.clear()
            progress.update(1)
            if ends_row:
                row = means.take()
                history.append({"step": float(index + 1), **row})
                progress.set_postfix({name: f"{value:.4g}" for name, value in row.items()}, refresh=False)
                resumption.log(index + 1, row)
            if saves:
                _check_weights(state, index, title, resumption)
                with pace.saving():
                    resumption.save(state, index + 1, history)
    return history


def _kept(values: Mapping[str, Tensor | float]) -> dict[str, Tensor | float]:
    """Values that no later step changes: a tensor of a GPU may be the next step's, too."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) and is_gpu(value.device) else value
        for name, value in values.items()
    }


def _on_gpu(values: Mapping[str, Tensor | float]) -> bool:
    return any(isinstance(value, Tensor) and is_gpu(value.device) for value in values.values())


def _read(rows: Sequence[Mapping[str, Tensor | float]]) -> list[dict[str, float]]:
    """The numbers of some steps, with one wait for the GPU that they may be on; of a skipped batch that alone."""
    far = [value for row in rows for value in row.values() if isinstance(value, Tensor) and is_gpu(value.device)]
    near = iter(torch.stack([value.double().reshape(()) for value in far]).tolist() if far else [])
    found = [
        {
            name: next(near) if isinstance(value, Tensor) and is_gpu(value.device) else float(value)
            for name, value in row.items()
        }
        for row in rows
    ]
    return [{"skipped": 1.0} if row.get("skipped") == 1 else row for row in found]


def _check_finite(values: Mapping[str, float], index: int, title: str, resumption: Resumption) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise _diverged(f"{title}: {name} is {value} at step {index}", resumption)


def _check_weights(state: Mapping[str, Stateful], index: int, title: str, resumption: Resumption) -> None:
    """A gradient may be NaN where its loss is not; whoever resumed from what it leaves would end at once, each time."""
    weights = {
        f"{name}.{each}": value
        for name, part in state.items()
        if isinstance(part, nn.Module)
        for each, value in part.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    finite = [value.isfinite().all() for value in weights.values()]
    # on one device, so that there is one wait for it
    kept = torch.stack([each.to(finite[0].device) for each in finite]).tolist() if finite else []
    for name, whole in zip(weights, kept, strict=True):
        if not whole:
            raise _diverged(f"{title}: {name} holds NaN or infinity after step {index}", resumption)


def _diverged(what: str, resumption: Resumption) -> Diverged:
    good = resumption.path if resumption.path.exists() else "none yet"
    return Diverged(f"{what} (last good checkpoint: {good}); lower the learning rate in params.yaml")


def last_value(history: Sequence[Mapping[str, float]], name: str) -> float:
    """The last value of a curve; 0 if it has none.

    A row of skipped batches alone has no loss, so the last row may lack it.
    """
    return next((row[name] for row in reversed(history) if name in row), 0.0)
