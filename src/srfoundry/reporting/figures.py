"""Figures of matplotlib as files: the whole new picture or the former one, and the same bytes for the same picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srfoundry.core.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING: dict[str, Any] = {"Software": None}  # matplotlib would write its version into the file


def save(figure: "Figure", path: Path, *, dpi: int) -> None:
    """Write a PNG.

    Args:
        figure: on a canvas.
        path: of the file.
        dpi: pixels an inch.
    """
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, metadata=NOTHING)
