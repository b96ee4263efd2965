"""What a conversion gives, and how far another runtime is from ONNX Runtime on the CPU."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from srfoundry.core.errors import FoundryError
from srfoundry.runtime.session import RESTORED, Session, padded

SIZES = ((64, 64), (37, 53), (16, 24))  # rows and columns of what is compared; none is what a converter is given
REDUCED = ("fp16", "int8")  # what a card calls files whose numbers are rounded
HALF_A_LEVEL = 0.5 / 255

Run = Callable[[Float[np.ndarray, "b c h w"]], Float[np.ndarray, "b c H W"]]


@dataclass(frozen=True)
class Converted:
    """Files for another program, and their proof.

    Args:
        files: their bytes by their path below the folder that they are written to.
        difference: the largest from the model's own numbers, image range [0, 1]; None where it could not be measured.
        against: what was compared with what, or why nothing was.
    """

    files: Mapping[str, bytes]
    difference: float | None
    against: str


def open_session(model: Path) -> Session:
    """The exported model by ONNX Runtime on one thread of the CPU, which everything is compared with."""
    if model.suffix != ".onnx":
        raise FoundryError(f"this takes an exported .onnx file, got {model}; they stand in exports/")
    return Session(model, threads=1, device="cpu")


def image_alone(blob: bytes) -> bytes:
    """An exported file without what it says beside the image, for programs that want one output; else itself."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.load_model_from_string(blob)
    if len(model.graph.output) == 1:
        return blob
    alone = Extractor(model).extract_model([each.name for each in model.graph.input], [RESTORED])
    for said in model.metadata_props:
        alone.metadata_props.add(key=said.key, value=json.dumps([RESTORED]) if said.key == "outputs" else said.value)
    return alone.SerializeToString(deterministic=True)


def difference(session: Session, run: Run) -> float:
    """The largest |other - ONNX Runtime| over random images in [0, 1] of several sizes; NaN if there is one.

    Args:
        session: the exported model.
        run: the other program; what the model needs padded comes padded.
    """
    card = session.card
    found = []
    for height, width in SIZES:
        low = np.random.default_rng(height).random((1, card.channels, height, width), np.float32)
        other = padded(run, low, card.multiple_of, card.scale)
        expected = session.run(low)
        if other.shape != expected.shape:
            return float("nan")
        found.append(float(np.abs(other - expected).max()))
    return float(np.max(found))


def tolerance(session: Session, full: float) -> float:
    """What may differ: `full` for a file in fp32; half a level of 8 bits for a reduced one, whose rounding wanders."""
    return max(full, HALF_A_LEVEL) if session.card.precision in REDUCED else full


def demand(worst: float, tolerance: float, program: str) -> None:
    """Refuse files that give other numbers.

    Raises:
        FoundryError: the difference is above the tolerance, or no number.
    """
    if not worst <= tolerance:  # so that NaN fails too
        raise FoundryError(
            f"{program} must give ONNX Runtime's numbers within {tolerance:g}, got a difference of {worst:g}; "
            "nothing was written: try another version of it"
        )
