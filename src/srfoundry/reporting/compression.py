"""Compression in pictures: what it left of each layer, how the search came to it, and what each member is worth."""

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

    With a `target` the curve is the removed fraction of a search, an expectation until its channels are chosen;
    without, the loss after each unit.
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
    curve.set(xlabel="step", ylabel="loss" if target is None else "removed")
    curve.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def family_picture(path: Path, psnr: Mapping[str, float], costs: Mapping[str, Mapping[str, float]]) -> None:
    """Write a PNG: PSNR-Y in dB of each member of a family over each of its costs, a panel a cost.

    Args:
        costs: by title with its unit, such as "parameters, K"; the members of each are `psnr`'s.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 3.2 * len(costs), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (title, members) in zip(panels, costs.items(), strict=True):
        axes.plot([members[name] for name in psnr], list(psnr.values()), color=KEPT, marker="o", markersize=5)
        for name, value in psnr.items():
            axes.annotate(name, (members[name], value), xytext=(5, -11), textcoords="offset points", fontsize=8)
        axes.set_xlabel(title)
        axes.margins(0.25)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR-Y, dB")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def methods_picture(
    path: Path, psnr: Mapping[str, tuple[float, float]], costs: Mapping[str, Mapping[str, float]]
) -> None:
    """Write a PNG: PSNR-Y in dB of ways to compress one net over each of their costs, a panel a cost.

    Args:
        psnr: mean over the seeds and its spread, by method.
        costs: by title with its unit; the methods of each are `psnr`'s.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 3.6 * len(costs), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (title, members) in zip(panels, costs.items(), strict=True):
        for number, (name, (mean, spread)) in enumerate(psnr.items()):
            axes.errorbar(
                members[name], mean, yerr=spread, color=f"C{number}", marker="o", markersize=5, capsize=3, label=name
            )
        axes.set_xlabel(title)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR-Y, dB")
    panels[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
