"""What compression left of each layer, as a picture: kept against dense widths, and how the search came to them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

FULL, KEPT, LINE = "#d0d0d0", "#3465a4", "#cc0000"


def widths_picture(
    path: Path,
    names: Sequence[str],
    dense: Sequence[int],
    kept: Sequence[int],
    history: Sequence[Mapping[str, float]],
    target: float | None,
) -> None:
    """Write a PNG: a bar a layer (kept channels over all), and below the curve of the run.

    With a `target` the curve is the expected removed fraction of a search; without, the loss after each unit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.0, 0.28 * len(names)), 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    bars, curve = figure.subplots(2, 1, height_ratios=[2, 1])
    places = range(len(names))
    bars.bar(places, dense, color=FULL, label="dense")
    bars.bar(places, kept, color=KEPT, label="kept")
    bars.set_xticks(places, names, rotation=90, fontsize=7)
    bars.set_ylabel("channels")
    bars.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2, frameon=False)
    value = "total" if target is None else "removed"
    curve.plot([row["step"] for row in history], [row[value] for row in history], color=KEPT)
    if target is not None:
        curve.axhline(target, color=LINE, linewidth=0.8, linestyle="--")
    curve.set(xlabel="step", ylabel="loss" if target is None else "removed (expected)")
    curve.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
