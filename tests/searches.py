"""Settings of small searches, for the tests of compression."""

from collections.abc import Callable
from typing import Any, Literal

from srfoundry.compression.settings import BudgetTarget, Importance, Relaxation, SearchDescent, WidthModel


def in_one_part(draw: Callable[[int], Any]) -> Callable[[int], list[tuple[Any, float]]]:
    """Batches in one part."""
    return lambda index: [(draw(index), 1.0)]


def wanted(
    remove: float, tolerance: float, *, multiple: int = 4, measure: Literal["parameters", "macs"] = "parameters"
) -> BudgetTarget:
    """What must be saved."""
    return BudgetTarget(measure=measure, remove=remove, tolerance=tolerance, multiple=multiple)


def modelled(
    order: Literal["first", "second"] = "first",
    relaxation: Relaxation = "threshold",
    importance: Importance = "weight",
) -> WidthModel:
    """How a width is relaxed."""
    return WidthModel(order=order, relaxation=relaxation, importance=importance)


def along(steps: int, **changes: Any) -> SearchDescent:
    """The rates of a short search, but for `changes`."""
    rates = {"learning_rate": 1e-3, "width_rate": 0.05, "temperature": 0.2, "clip": 1.0}
    return SearchDescent(steps=steps, **(rates | changes))
