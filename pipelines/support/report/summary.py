"""The lines that `make repro` ends with: key figures, where report and models are, and what to do next."""

from pathlib import Path

from pipelines.support.report.figures import key_figures
from srfoundry.reporting.run.page import short


def text(root: Path, report: str) -> str:
    """The whole summary.

    Args:
        root: the project's folder.
        report: path of the report from there.
    """
    rows = [f"{each.name:52s} {short(each.now):>10s}" for each in key_figures(root)]
    found = sorted((root / "exports").glob("*.onnx"), key=lambda path: path.stat().st_size)  # smallest first
    models = [path.relative_to(root).as_posix() for path in found]
    model = next((each for each in models if each.endswith("/pruned.onnx")), "exports/MODEL.onnx")
    tail = [
        f"report    {report}, one file that any browser opens",
        "models    " + (", ".join(models) or "none yet"),
        "next      make ui    curves, pictures, runs and registered models (make stop ends the servers)",
        f"          .venv/bin/srfoundry upscale PHOTO --model {model}",
    ]
    return "\n".join(["", *rows, "", *tail])
