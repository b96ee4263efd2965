"""The one training loop: steps, checkpoints, curves and the stop at a loss that is not finite."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from srfoundry.core.errors import Diverged
from srfoundry.core.progress import bar
from srfoundry.core.state import Resumption, Stateful

Step = Callable[[int], Mapping[str, Tensor | float]]

SAVE_SECONDS = 20.0
ROWS = 100  # points of a training curve


def fit(
    step: Step, *, steps: int, state: Mapping[str, Stateful], resumption: Resumption, title: str
) -> list[dict[str, float]]:
    """Run `step(i)` for every i below `steps`, resuming where a killed run stopped, and return the curve.

    A step must draw everything random from a generator seeded with i; then a resumed run ends with the same bytes.

    Args:
        step: trains once and returns named losses; none of them may be NaN or infinite.
        state: everything that a step changes.
        resumption: where the state is kept meanwhile, and who watches the curve.
        title: of the progress bar.

    Returns:
        Rows of the curve: `step`, and the mean of each loss since the row before, where a step returned it.

    Raises:
        Diverged: a loss is NaN or infinite; the last good checkpoint is kept.
    """
    done, history = resumption.load(state)
    every = max(1, steps // ROWS)
    series: dict[str, list[float]] = defaultdict(list)  # since the last row
    saved_at = time.monotonic()
    with bar(title, steps, start=done) as progress:
        for index in range(done, steps):
            values = {name: float(value) for name, value in step(index).items()}
            _check_finite(values, index, title, resumption)
            for name, value in values.items():
                series[name].append(value)
            progress.update(1)
            # Rows end at fixed steps, and a checkpoint is only taken there: resuming never cuts a mean in two.
            last = index + 1 == steps
            if (index + 1) % every and not last:
                continue
            row = {name: sum(found) / len(found) for name, found in series.items()}
            series.clear()
            history.append({"step": float(index + 1), **row})
            progress.set_postfix({name: f"{value:.4g}" for name, value in row.items()}, refresh=False)
            resumption.log(index + 1, row)
            if last or time.monotonic() - saved_at > SAVE_SECONDS:
                resumption.save(state, index + 1, history)
                saved_at = time.monotonic()
    return history


def _check_finite(values: Mapping[str, float], index: int, title: str, resumption: Resumption) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            good = resumption.path if resumption.path.exists() else "none yet"
            raise Diverged(
                f"{title}: {name} is {value} at step {index} (last good checkpoint: {good}); "
                "lower the learning rate in params.yaml"
            )


def last_value(history: Sequence[Mapping[str, float]], name: str) -> float:
    """The last value of a curve; 0 if it has none.

    A row of skipped batches alone has no loss, so the last row may lack it.
    """
    return next((row[name] for row in reversed(history) if name in row), 0.0)
