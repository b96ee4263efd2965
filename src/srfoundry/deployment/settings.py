"""What params.yaml says of exported files. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

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


@dataclass(frozen=True, kw_only=True)
class Precisions:
    """Which smaller files are made of each exported one, and what they may cost (precision.py).

    Args:
        precisions: fp16, int8, both or none.
        precision_loss: PSNR-Y in dB on validation photographs that a file may lose against its original.
        precision_time: share of its original's time below which an int8 file is registered.
    """

    precisions: list[Literal["fp16", "int8"]]
    precision_loss: Annotated[float, Field(ge=0, le=3)]
    precision_time: Annotated[float, Field(gt=0, le=2)]
