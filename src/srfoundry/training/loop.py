"""The one training loop: steps, checkpoints, curves and the stop at a loss that is not finite."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from srfoundry import checkpoint as checkpoints
from srfoundry.checkpoint import Stateful
from srfoundry.errors import Diverged
from srfoundry.progress import bar

Log = Callable[[int, dict[str, float]], None]
Step = Callable[[int], Mapping[str, Tensor | float]]

SAVE_SECONDS = 20.0
ROWS = 100  # points of a training curve


def fit(
    step: Step, *, steps: int, state: Mapping[str, Stateful], checkpoint: Path, key: str, log: Log, title: str
) -> list[dict[str, float]]:
    """Run `step(i)` for every i below `steps`, resuming where a killed run stopped, and return the curve.

    A step must draw everything random from a generator seeded with i; then a resumed run ends with the same bytes.

    Args:
        step: trains once and returns named losses; the first decides whether training diverged.
        state: everything that a step changes.
        checkpoint, key: where the state is kept meanwhile, and what it belongs to.

    Raises:
        Diverged: a loss is NaN or infinite; the last good checkpoint is kept.
    """
    done, history = checkpoints.load_state(checkpoint, key, state)
    every = max(1, steps // ROWS)
    sums: dict[str, list[float]] = {}
    saved_at = time.monotonic()
    with bar(title, steps, start=done) as progress:
        for index in range(done, steps):
            values = {name: float(value) for name, value in step(index).items()}
            for name, value in values.items():
                if not math.isfinite(value):
                    good = checkpoint if checkpoint.exists() else "none yet"
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
                log(index + 1, row)
                if time.monotonic() - saved_at > SAVE_SECONDS or index + 1 == steps:
                    checkpoints.save_state(checkpoint, key, state, index + 1, history)
                    saved_at = time.monotonic()
    return history


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a network runs in bfloat16 where `precision` and the hardware say so."""
    if not fast_bfloat16(device) if precision == "auto" else precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


Schedule = Literal["cosine", "staircase", "constant"]


def rate(schedule: Schedule, step: int, steps: int, start: float, *, warmup: int = 0) -> float:
    """Learning rate at a step of `steps`, after a linear warm-up.

    `cosine` falls to 0; `staircase` is halved after every fifth of the steps until it is a quarter (MZSR's phase 1:
    from 4e-4 every 100,000 of 500,000 steps down to 1e-4); `constant` stays (MZSR's phase 2).
    """
    if schedule == "cosine" or step < warmup:
        return cosine(step, steps, start, warmup=warmup)
    return start if schedule == "constant" else start * max(0.25, 0.5 ** (5 * step // max(1, steps)))


def cosine(step: int, steps: int, start: float, end: float = 0.0, warmup: int = 0) -> float:
    """Learning rate at a step: linear warm-up, then half a cosine from `start` to `end`."""
    if step < warmup:
        return start * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * share))
