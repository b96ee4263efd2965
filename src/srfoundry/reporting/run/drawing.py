"""The drawings of a report as SVG: they stay sharp, and are searched like text."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from srfoundry.core.results import curve_names
from srfoundry.reporting.curves import curves_figure
from srfoundry.reporting.palette import COLOURS
from srfoundry.reporting.run.contents import Curve, Member, StageShown

WIDTH, HEIGHT, ACROSS, DOWN = 148, 40, 30, 14  # of a stage's box, and the room between boxes, px


def graph(stages: Sequence[StageShown]) -> str:
    """The stages from left to right, each after what it reads; a box holds name, state and time."""
    parents = {stage.name: stage.parents for stage in stages}
    depth = _depths(parents)
    columns: dict[int, list[str]] = {}
    place: dict[str, tuple[float, float]] = {}
    for stage in stages:
        columns.setdefault(depth[stage.name], []).append(stage.name)
    tallest = max((len(column) for column in columns.values()), default=1)
    for number, column in sorted(columns.items()):
        names = sorted(column, key=lambda name: _middle(parents[name], place))
        top = (tallest - len(names)) * (HEIGHT + DOWN) / 2
        for index, name in enumerate(names):
            place[name] = (number * (WIDTH + ACROSS) + 4.0, top + index * (HEIGHT + DOWN) + 4)
    parts = [_edge(place[parent], place[name]) for name in parents for parent in _direct(name, parents)]
    parts += [_box(stage, *place[stage.name]) for stage in stages]
    wide = len(columns) * (WIDTH + ACROSS) - ACROSS + 8
    tall = tallest * (HEIGHT + DOWN) - DOWN + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" role="img" class="graph"'
    return f'{head} aria-label="the graph of stages">{"".join(parts)}</svg>'


def curve(shown: Curve) -> str:
    """A stage's curves, smoothed over raw, or nothing where there are no points."""
    names = curve_names(shown.rows)
    title = "\n".join(filter(None, (shown.stage, shown.validation)))
    return _svg(curves_figure(shown.rows, names, title)) if names else ""


def family(members: Sequence[Member]) -> str:
    """PSNR-Y over parameters, multiply-adds and time, a panel each; only costs that are known of all.

    Of the members that are judged on the same test set as most of them, since PSNR compares on one set alone.
    """
    scored = [member for member in members if member.psnr is not None]
    most = Counter(member.trained_on for member in scored).most_common(1)
    scored = [member for member in scored if member.trained_on == most[0][0]]
    costs: Mapping[str, list[float | None]] = {
        "parameters, thousands": [member.parameters / 1e3 for member in scored],
        "multiply-adds for 96 x 96, billions": [None if m.macs is None else m.macs / 1e9 for m in scored],
        "seconds for 128 x 128": [member.seconds for member in scored],
    }
    known = {name: values for name, values in costs.items() if values and None not in values}
    if not known:
        return ""
    figure = Figure(figsize=(1 + 3.1 * len(known), 3.0), layout="constrained")
    panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, known.items(), strict=True):
        for index, (member, value) in enumerate(zip(scored, values, strict=True)):
            axes.scatter([value], [member.psnr], color=COLOURS[index % len(COLOURS)], s=30)
            axes.annotate(member.name, (value, member.psnr), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set_xlabel(name, fontsize=8)
        axes.margins(0.25)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("PSNR-Y, dB", fontsize=8)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    FigureCanvasSVG(figure)
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "srfoundry"}):  # text stays text; the same names each time
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _depths(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 1 + max((depth(parent) for parent in parents[name]), default=-1)
        return found[name]

    for name in parents:
        depth(name)
    return found


def _direct(name: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Parents that no other parent waits for anyway: the rest only hides the drawing."""
    above: dict[str, set[str]] = {}

    def ancestors(other: str) -> set[str]:
        if other not in above:
            above[other] = set(parents[other]).union(*map(ancestors, parents[other]))
        return above[other]

    return [parent for parent in parents[name] if not any(parent in ancestors(other) for other in parents[name])]


def _middle(parents: Sequence[str], place: Mapping[str, tuple[float, float]]) -> float:
    known = [place[parent][1] for parent in parents if parent in place]
    return sum(known) / len(known) if known else 0.0


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT / 2, end[0], end[1] + HEIGHT / 2
    bend = (x2 - x1) / 2
    return f'<path class="edge" d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _box(stage: StageShown, x: float, y: float) -> str:
    seconds = "" if stage.seconds is None else f", {stage.seconds:.0f} s"
    kind = stage.state.replace(" ", "-")
    hint = escape(f"{stage.name}: {stage.state}{seconds} {stage.ended} {stage.machine}".strip())
    return (
        f'<g class="stage {kind}"><title>{hint}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 17}" class="name">{escape(stage.name)}</text>'
        f'<text x="{x + 10}" y="{y + 32}">{escape(stage.state + seconds)}</text></g>'
    )
