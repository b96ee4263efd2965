"""Sum rates in a picture: against the signal-to-noise ratio, and against what they cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from srfoundry.reporting import figures

Line = tuple[Sequence[float], Sequence[float]]  # places and rates


def rates_picture(path: Path, panels: Mapping[str, Mapping[str, Line]], *, logarithmic: Sequence[str] = ()) -> None:
    """Write a PNG: a panel for each quantity (such as "SNR, dB"), in it a line for each method.

    Args:
        logarithmic: the panels whose places span decades.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * len(panels), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    methods = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, (places, rates) in lines.items():
            marker = "o" if len(places) < 10 else None
            axes.plot(places, rates, label=name, color=f"C{methods.index(name)}", marker=marker, markersize=4)
        axes.set(xlabel=title, ylabel="sum rate, bit", xscale="log" if title in logarithmic else "linear")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    figures.save(figure, path, dpi=100)
