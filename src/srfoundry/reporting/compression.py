"""Compression in pictures: what it left of each layer, how the search came to it, and what each member is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from srfoundry.reporting import figures
from srfoundry.reporting.pictures import scatter

FULL, KEPT, LINE = "#d0d0d0", "#3465a4", "#cc0000"
Costs = Mapping[str, Mapping[str, float]]  # by title with its unit, then by what costs so much


def widths_picture(
    path: Path,
    names: Sequence[str],
    dense: Sequence[int],
    kept: Sequence[int],
    history: Sequence[Mapping[str, float]],
    target: float | None,
) -> None:
    """Write a PNG: a bar a layer (kept channels over all), and below the curve of the run.

    Args:
        path: of the picture.
        names: of the layers.
        dense: their channels before.
        kept: their channels now.
        history: rows with `step`, and `removed` or `total`.
        target: the fraction to remove; the curve is then the removed fraction of a search, an expectation until its
            channels are chosen. Without, it is the loss after each unit.
    """
    figure = _figure(max(5.0, 0.28 * len(names)), 6.0)
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
    figures.save(figure, path, dpi=100)


def family_picture(path: Path, psnr: Mapping[str, float], costs: Costs) -> None:
    """Write a PNG: PSNR-Y in dB of each member of a family over each of its costs, a panel a cost.

    Args:
        path: of the picture.
        psnr: by member.
        costs: of the same members, such as "parameters, K".
    """
    figure = _figure(1 + 3.2 * len(costs), 3.2)
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
    figures.save(figure, path, dpi=110)


def methods_picture(path: Path, psnr: Mapping[str, tuple[float, float]], costs: Costs) -> None:
    """Write a PNG: PSNR-Y in dB of ways to compress one net over each of their costs, a panel a cost.

    Args:
        path: of the picture.
        psnr: mean over the seeds and its spread, by method.
        costs: of the same methods.
    """
    figure = _figure(1 + 3.6 * len(costs), 3.4)
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
    figures.save(figure, path, dpi=110)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def quality_pictures(
    folder: Path, psnr: Mapping[str, float], sizes: Mapping[str, int], macs: Mapping[str, int]
) -> list[Path]:
    """Quality over parameters, and the family's over what its members cost, as two PNG files.

    Args:
        folder: where they are written.
        psnr: dB of each model, on the held-out photographs reduced by bicubic.
        sizes: parameters of each.
        macs: multiply-adds of each member of the family at 96x96 pixels.
    """
    over, family = folder / "psnr_over_parameters.png", folder / "family.png"
    points = {name: (float(sizes[name]), psnr[name]) for name in ("pretrain", "dual", "pruned")}
    scatter(over, points, "held-out photographs, bicubic")
    costs = {"parameters, K": {name: sizes[name] / 1e3 for name in macs}}
    costs["multiply-adds at 96x96, G"] = {name: count / 1e9 for name, count in macs.items()}
    family_picture(family, {name: psnr[name] for name in macs}, costs)
    return [over, family]
