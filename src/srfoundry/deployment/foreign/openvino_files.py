"""OpenVINO's own format. It reads the .onnx file as well; this spares it the reading."""

import importlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.conversion import Converted, demand, difference, open_session, tolerance

TOLERANCE = 1e-4


def convert(model: Path) -> Converted:
    """The .xml and the .bin, float32, compared in OpenVINO on the CPU.

    Raises:
        FoundryError: OpenVINO is not installed, or its numbers differ.
    """
    if importlib.util.find_spec("openvino") is None:  # in no extra: it is for those who have it
        raise FoundryError(f"this needs OpenVINO, which is not installed; pip install openvino, or let it read {model}")
    openvino: Any = importlib.import_module("openvino")
    session = open_session(model)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.xml"
        openvino.save_model(openvino.convert_model(str(model)), str(written), compress_to_fp16=False)
        # the graph is computed in float32 where the processor would rather have bfloat16
        compiled = openvino.Core().compile_model(str(written), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        worst = difference(session, lambda low: np.array(compiled([low])[0]))
        blobs = [written.read_bytes(), written.with_suffix(".bin").read_bytes()]
    demand(worst, tolerance(session, TOLERANCE), "OpenVINO")
    name = f"{model.stem}-x{session.scale}"
    return Converted(
        dict(zip((f"{name}.xml", f"{name}.bin"), blobs, strict=True)), worst, "OpenVINO on the CPU, float32"
    )
