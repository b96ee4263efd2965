"""Which widths a net gets: the likeliest of its ladders whose cost meets a budget, or those nearest to wanted ones."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.compression.budget import Budget
from srfoundry.compression.settings import BudgetTarget
from srfoundry.core.errors import FoundryError

GRID = 20_000  # parts into which the net's cost is cut when the widths are chosen
BETWEEN = 50.0  # log probability that a width between two of a ladder costs
SHARPNESS = 60.0  # of the preference for the nearest widths; exp(-60) is still above the smallest share that counts


def choose(budget: Budget, shares: Sequence[Float[Tensor, " _"]], target: BudgetTarget) -> list[int]:
    """The likeliest widths (sum of log probabilities) whose removed fraction is within the target.

    Where no combination of the ladders lies in the band, as few units as can be take a width between two of theirs, in
    quarters of the ladder's step. Where that does not help either, what removes least above the band is taken.

    Args:
        budget: the cost of widths.
        shares: for each unit the probabilities of its ladder's widths.
        target: the band.

    Raises:
        FoundryError: even the narrowest widths remove less.
    """
    if budget.most() < target.remove:
        raise FoundryError(
            f"the fraction to remove must be at most {budget.most():.3f} with this network and these widths, "
            f"got {target.remove}; "
            "ask for less, allow narrower layers (multiple) or take a network with wider blocks"
        )
    logs = [share.detach().double().cpu().clamp_min(1e-30).log().numpy() for share in shares]
    chosen = likeliest(budget, logs, target)
    if budget.removed(chosen) <= target.most:
        return chosen
    ladders = [sorted({*steps, *range(steps[0], steps[-1], max(1, steps[0] // 4))}) for steps in budget.ladders]
    tables, finer = [], []
    for rungs, steps, table, series in zip(ladders, budget.ladders, budget.tables, logs, strict=True):
        tables.append(tuple(np.interp(rungs, steps, table).tolist()))
        finer.append(np.interp(rungs, steps, series) - np.where(np.isin(rungs, steps), 0.0, BETWEEN))
    return likeliest(Budget(budget.total, tuple(map(tuple, ladders)), tuple(tables)), finer, target)


def likeliest(budget: Budget, logs: Sequence[np.ndarray], target: BudgetTarget) -> list[int]:
    """As `choose`, from log probabilities and with the ladders' own widths alone: at least `remove` goes, if it can.

    A dynamic programme over the removed cost, each unit's rounded down to a part of GRID.
    """
    score = np.full(GRID + 1, -np.inf)
    score[0] = 0.0
    picks: list[np.ndarray] = []
    # rounded down: the true fraction is never below the one counted here
    parts = [[int((table[-1] - cost) * GRID / budget.total) for cost in table] for table in budget.tables]
    for gone, series in zip(parts, logs, strict=True):
        best, pick = np.full(GRID + 1, -np.inf), np.zeros(GRID + 1, dtype=np.int64)
        for i, part in enumerate(gone):
            moved = np.full(GRID + 1, -np.inf)
            moved[part:] = score[: GRID + 1 - part] + series[i]
            better = moved > best
            best[better], pick[better] = moved[better], i
        score = best
        picks.append(pick)
    first = int(np.ceil(target.remove * GRID))
    last = int(target.most * GRID) - len(parts)
    inside = score[first : last + 1]
    if inside.size and np.isfinite(inside).any():
        at = first + int(inside.argmax())
    else:
        at = first + int(np.isfinite(score[first:]).argmax())
    chosen: list[int] = []
    for widths, pick, gone in zip(reversed(budget.ladders), reversed(picks), reversed(parts), strict=True):
        index = int(pick[at])
        chosen.append(widths[index])
        at -= gone[index]
    return chosen[::-1]


def nearest(budget: Budget, wanted: Sequence[int | float], target: BudgetTarget) -> list[int]:
    """The widths that meet the budget and are nearest to `wanted`: least squares of the fractions kept.

    Args:
        wanted: a width for each unit, not necessarily of its ladder.
    """
    shares: list[Tensor] = []
    for widths, width in zip(budget.ladders, wanted, strict=True):
        off = (torch.tensor(widths, dtype=torch.float64) - width) / widths[-1]
        shares.append(torch.softmax(-SHARPNESS * off.square(), dim=0))
    return choose(budget, shares, target)


def uniform_widths(budget: Budget, target: BudgetTarget) -> list[int]:
    """The widths that meet the budget and are nearest to one keep ratio for all units."""
    low, high = 0.0, 1.0
    for _ in range(40):  # by bisection; narrower than the ladder's first width counts as that
        keep = (low + high) / 2
        widths = [max(steps[0], keep * steps[-1]) for steps in budget.ladders]
        enough = budget.removed(widths) >= target.middle
        low, high = (keep, high) if enough else (low, keep)
    return nearest(budget, [low * steps[-1] for steps in budget.ladders], target)


def wider(budget: Budget, target: BudgetTarget) -> int:
    """How many units could keep more than their ladder's narrowest width, each by itself, within the budget."""
    narrow = [steps[0] for steps in budget.ladders]
    count = 0
    for place, steps in enumerate(budget.ladders):
        if len(steps) > 1:
            count += budget.removed([*narrow[:place], steps[1], *narrow[place + 1 :]]) >= target.remove
    return count
