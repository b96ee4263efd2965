"""A report as one HTML file that opens anywhere: pictures, drawings, styles and the slider's program are inside."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from srfoundry.reporting.run import drawing
from srfoundry.reporting.run.contents import RunReport

SLIDER = "serving/page/vendor/img-comparison-slider"  # MIT; its licence stands in the file


def rendered(report: RunReport) -> str:
    """The page.

    Args:
        report: what it shows; parts without contents are left out.
    """
    loader = PackageLoader("srfoundry.reporting.run", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["short"] = short
    slider = files("srfoundry").joinpath(SLIDER)
    return environment.get_template("report.html.j2").render(
        report=report,
        graph=drawing.graph(report.stages),
        curves=[svg for svg in map(drawing.curve, report.curves) if svg],
        family=drawing.family(report.members),
        slider=slider.joinpath("index.js").read_text(encoding="utf-8"),
        slider_style=slider.joinpath("styles.css").read_text(encoding="utf-8"),
        slider_licence=slider.joinpath("LICENSE").read_text(encoding="utf-8"),
    )


def short(value: float | int | str | None) -> str:
    """A figure as text: at most six digits, a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
