"""A training's curves in a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def curves_picture(path: Path, history: Sequence[Mapping[str, float]], names: Sequence[str], title: str) -> None:
    """Draw each value of a curve over the steps, one below the other, as a PNG.

    Args:
        path: of the picture.
        history: rows with `step` and values; a value may be missing in a row.
        names: the values that are drawn.
        title: above them.
    """
    figure = Figure(figsize=(5, 1 + 2 * max(1, len(names))), layout="constrained")
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, index + 1)
        points = [(row.get("step", place), row[name]) for place, row in enumerate(history) if name in row]
        axes.plot([step for step, _ in points], [value for _, value in points])
        axes.set(ylabel=name, xlabel="step" if index + 1 == len(names) else "")
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
