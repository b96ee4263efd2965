"""A training's curves in a picture: as they were measured, and smoothed over them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from srfoundry.reporting import figures
from srfoundry.reporting.palette import COLOURS

SMOOTHED = 8  # points that the smoothed curve's mean reaches to each side, about
DECADE = 3.0  # largest over least value from which an axis is logarithmic
UNITS = {  # of the values that stages log, for the axes
    "total": "loss, all terms",
    "loss": "loss",
    "primal": "primal loss, mean |error|, range [0, 1]",
    "dual": "dual loss, mean |error|, range [0, 1]",
    "removed": "share removed",
    "train": "loss",
    "gain_db": "gain over bicubic, dB",
    "psnr_y": "PSNR-Y, dB",
}
Row = Mapping[str, float]


def curves_picture(path: Path, history: Sequence[Row], names: Sequence[str], title: str) -> None:
    """Draw each value of a curve over the steps, one below the other, as a PNG.

    Args:
        path: of the picture.
        history: rows with `step` and values; a value may be missing in a row.
        names: the values that are drawn.
        title: above them.
    """
    figure = curves_figure(history, names, title)
    FigureCanvasAgg(figure)
    figures.save(figure, path, dpi=100)


def curves_figure(history: Sequence[Row], names: Sequence[str], title: str) -> Figure:
    """The same as a figure, on no canvas yet; `validation_NAME` is drawn beside NAME."""
    beside = {name: f"validation_{name}" for name in names if f"validation_{name}" in names}
    beside |= {"train": "validation"} if {"train", "validation"} <= set(names) else {}
    shown = [name for name in names if name not in beside.values()]
    figure = Figure(figsize=(5.5, 0.8 + 1.9 * max(1, len(shown))), layout="constrained")
    for index, name in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, index + 1)
        _draw(axes, history, name, COLOURS[0], "training" if name in beside else "")
        if name in beside:
            _draw(axes, history, beside[name], COLOURS[1], "validation")
            axes.legend(fontsize=7, frameon=False)
        last = index + 1 == len(shown)
        axes.set(ylabel=UNITS.get(name, name).replace(", ", ",\n", 1), xlabel="step" if last else "")
        axes.yaxis.label.set_fontsize(8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    return figure


def smoothed(values: Sequence[float], reach: int = SMOOTHED) -> list[float]:
    """Exponential running mean to both sides, so that the curve does not lag behind."""
    before, after = _running(values, reach), _running(list(reversed(values)), reach)[::-1]
    return [
        (one[0] + other[0] - value) / (one[1] + other[1] - 1)
        for value, one, other in zip(values, before, after, strict=True)
    ]


def _running(values: Sequence[float], reach: int) -> list[tuple[float, float]]:
    """Sum of all values so far, each weighted by how long ago it was, and the sum of these weights."""
    keep = 1 - 1 / max(1, reach)
    total = weight = 0.0
    found = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        found.append((total, weight))
    return found


def _draw(axes: Axes, history: Sequence[Row], name: str, colour: str, label: str) -> None:
    points = [(row.get("step", place), row[name]) for place, row in enumerate(history) if name in row]
    steps, values = [step for step, _ in points], [value for _, value in points]
    many = len(points) > 2 * SMOOTHED
    axes.plot(steps, values, color=colour, alpha=0.25 if many else 1.0, linewidth=0.8 if many else 1.5)
    if many:
        axes.plot(steps, smoothed(values), color=colour, linewidth=1.6, label=label)
    elif label and axes.lines:
        axes.lines[-1].set_label(label)
    if values and min(values) > 0 and max(values) > DECADE * min(values):
        axes.set_yscale("log")
