"""The one training loop: steps, checkpoints, curves and the stop at a loss that is not finite."""

import math
import time
from collections.abc import Callable, Mapping

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
        step: trains once and returns named losses; the first decides whether training diverged.
        state: everything that a step changes.
        resumption: where the state is kept meanwhile, and who watches the curve.
        title: of the progress bar.

    Raises:
        Diverged: a loss is NaN or infinite; the last good checkpoint is kept.
    """
    done, history = resumption.load(state)
    every = max(1, steps // ROWS)
    sums: dict[str, list[float]] = {}
    saved_at = time.monotonic()
    with bar(title, steps, start=done) as progress:
        for index in range(done, steps):
            values = {name: float(value) for name, value in step(index).items()}
            for name, value in values.items():
                if not math.isfinite(value):
                    good = resumption.path if resumption.path.exists() else "none yet"
                    raise Diverged(
                        f"{title}: {name} is {value} at step {index} (last good checkpoint: {good}); "
                        "lower the learning rate in params.yaml"
                    )
                sums.setdefault(name, []).append(value)
            progress.update(1)
            # Rows end at fixed steps, and a checkpoint is only taken there: resuming never cuts a mean in two.
            if (index + 1) % every == 0 or index + 1 == steps:
                row = {name: sum(series) / len(series) for name, series in sums.items()}
                sums = {}
                history.append({"step": float(index + 1), **row})
                progress.set_postfix({name: f"{value:.4g}" for name, value in row.items()}, refresh=False)
                resumption.log(index + 1, row)
                if time.monotonic() - saved_at > SAVE_SECONDS or index + 1 == steps:
                    resumption.save(state, index + 1, history)
                    saved_at = time.monotonic()
    return history
