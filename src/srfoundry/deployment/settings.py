"""What params.yaml says of exported files. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Count


@dataclass(frozen=True, kw_only=True)
class GraphTarget:
    """What a graph is written for.

    Args:
        opset: the oldest ONNX operator set that is tried; a file has the oldest from there that knows its operators.
        tile: side of the square that is the most that users' programs run at once, low-resolution pixels.
        tile_error: the most that tiles may change a row or a column of the result, root mean square, image range
            [0, 1]; the overlap follows from it (overlap.py).
    """

    opset: Annotated[int, Field(ge=11, le=22)]
    tile: Annotated[int, Field(ge=32)]
    tile_error: Annotated[float, Field(gt=0, le=0.1)]


@dataclass(frozen=True, kw_only=True)
class ParityCheck:
    """When an exported file counts as equal to its network.

    Args:
        tolerance: largest |PyTorch - ONNX Runtime|, image range [0, 1].
        sizes: height and width of the images that are compared.
    """

    tolerance: Annotated[float, Field(gt=0, le=1e-2)]
    sizes: Annotated[list[tuple[Count, Count]], Field(min_length=1)]
