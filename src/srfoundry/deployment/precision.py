"""Smaller and faster files of an exported model, fp16 and int8, each written only if it is as good.

The judge is PSNR-Y on windows of validation photographs, enlarged from their reductions: a file that loses more against
its original than is allowed is refused. A net for damaged photographs is judged on damaged and on clean windows, and
what it loses most on counts: it is used on both, and noise brings activations that clean windows do not show. fp16
halves the bytes, for GPUs and for the way there; CPUs compute in fp32 all the same. int8 is for CPUs and is quick where
layers are wide; whether it is worth it a clock must say, so the registry decides that and not this module, whose files
are the same each time.

Weights are quantised by channel, activations by tensor with the ranges that the windows show, and of the layers the
convolutions between the first nonlinearity and the last. Those before and behind them, the enlargement and the tail,
see the image itself and stay in float; so does every other layer that must for the loss to be small enough.
"""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.atomic import write_bytes
from srfoundry.deployment import graph
from srfoundry.deployment.export import stamped, write_card
from srfoundry.deployment.held_out import HIGH
from srfoundry.deployment.settings import Precisions
from srfoundry.imaging import decoding, metrics, resize, windows
from srfoundry.imaging.images import read
from srfoundry.imaging.patches import crop_to_multiple
from srfoundry.runtime.session import JUDGED_ON, SCORES, Session

WINDOW = 128  # low-resolution pixels a side of the windows that are looked at
QDQ = 13  # the oldest operator set whose weights are quantised by channel
LEAST = 8  # channels of a convolution that is quantised
REDUCED = "reduced"  # in a card's metrics: what the file costs against its original in float32
BENDING = {"Relu", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Softmax", "Erf", "Gelu"}


class Judge:
    """Scores files on photographs and their bicubic reductions.

    Args:
        high: windows of validation photographs, in [0, 1].
        scale: the enlargement.
        damaged: the same windows as another test set has made them small; none = bicubic ones alone.
    """

    def __init__(
        self,
        high: Iterable[Float[Tensor, "1 3 H W"]],
        scale: int,
        damaged: Sequence[Float[Tensor, "1 3 h w"]] = (),
    ) -> None:
        self.scale = scale
        self.high = [crop_to_multiple(image, scale) for image in high]
        self.low = [_rounded(resize.cubic(image, 1 / scale)) for image in self.high]
        self.low += map(_rounded, damaged)

    @classmethod
    def of_set(cls, folder: Path, scale: int, test: str, most: int) -> "Judge":
        """On the busiest windows of photographs in a folder of test sets.

        Args:
            folder: holds `high` and the test set.
            scale: the enlargement.
            test: the set; on the grid of MATLAB's bicubic.
            most: photographs to look at, the first by name.
        """
        high, low = [], []
        for path in decoding.find(folder / HIGH)[:most]:
            whole = read(path)
            box = windows.busiest(whole, WINDOW * scale, energy="edges")
            top, left, height, width = (extent // scale for extent in box)  # it begins at a multiple of the scale
            high.append(windows.crop(whole, box))
            low.append(windows.crop(read(folder / test / path.name), (top, left, height, width)))
        return cls(high, scale, low)

    def look(self, blob: bytes) -> "Seen":
        """The windows as a file enlarges them, and their mean PSNR-Y."""
        session = Session(blob, threads=1, device="cpu")
        images = [session.run(low) for low in self.low]
        high = self.high * (len(images) // max(len(self.high), 1))
        pairs = zip(images, high, strict=True)
        psnr = [metrics.psnr_y(torch.from_numpy(image), truth, self.scale) for image, truth in pairs]
        return Seen(images, [float(each) for each in np.reshape(psnr, (-1, len(self.high))).mean(axis=1)])


@dataclasses.dataclass(frozen=True)
class Seen:
    """Enlarged windows, and their mean PSNR-Y in dB: of the clean ones, then of damaged ones."""

    images: list[np.ndarray]
    psnr: list[float]


@dataclasses.dataclass(frozen=True)
class Reduced:
    """A file of lower precision, and what it costs on the validation windows."""

    blob: bytes
    psnr_loss: float  # dB, the worse of clean and damaged windows; below zero where it is the better one
    max_abs: float  # largest difference of a pixel, image range [0, 1]
    quantised: int  # convolutions in int8
    layers: int  # convolutions that could be


def beside(path: Path, judge: Judge, chosen: Precisions) -> dict[str, dict[str, Any]]:
    """Write the wanted files of lower precision of an exported model: `fp16/pruned.onnx` beside `pruned.onnx`.

    They lie in folders of their own, for who takes all models of a folder wants each network once.

    Args:
        path: the .onnx file in float32.
        judge: of losses.
        chosen: which precisions, and the loss that is allowed.

    Returns:
        For each name what it costs, and whether it was written; one that loses too much is not.
    """
    original = path.read_bytes()
    seen = judge.look(original)
    found = {}
    for precision in chosen.precisions:
        reduced = (
            _half(original, judge, seen)
            if precision == "fp16"
            else _eight(original, judge, seen, chosen.precision_loss)
        )
        name = f"{path.stem}_{precision}"
        fits = reduced.psnr_loss <= chosen.precision_loss and (precision == "fp16" or reduced.quantised > 0)
        found[name] = {
            "psnr_loss": round(reduced.psnr_loss, 4),
            "max_abs": round(reduced.max_abs, 6),
            "bytes": len(reduced.blob),
            "quantised": reduced.quantised,
            "layers": reduced.layers,
            "written": fits,
        }
        if fits:
            _write(path.parent / precision / path.name, reduced.blob, precision, found[name])
    return found


def _write(path: Path, blob: bytes, precision: str, figures: dict[str, Any]) -> None:
    """The file with a card of its own: the original's, but for what was measured on the original alone."""
    import onnx

    proto = onnx.load_model_from_string(blob)
    card = Session(blob, threads=1, device="cpu").card
    kept = {key: value for key, value in card.metrics.items() if key == JUDGED_ON or not key.startswith(SCORES)}
    costs = {key: figures[key] for key in ("psnr_loss", "max_abs", "quantised", "layers")}
    card = dataclasses.replace(
        card,
        name=f"{path.stem}_{precision}",
        precision=precision,
        opset=proto.opset_import[0].version,
        metrics={**kept, REDUCED: {**costs, "from": card.name}},
    )
    write_bytes(path, stamped(proto, card))
    write_card(path, card)


def _half(original: bytes, judge: Judge, seen: Seen) -> Reduced:
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = onnx.load_model_from_string(original)
    oldest = proto.opset_import[0].version
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that are so small that fp16 rounds them: the judge sees to that
        proto = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True)
    ONNXModel(proto).topological_sort()  # it appends the conversion of the input at the end
    graph.lower(proto, oldest)
    return _judged(proto, judge, seen, 0, 0)


def _eight(original: bytes, judge: Judge, seen: Seen, allowed: float) -> Reduced:
    """As many layers in int8 as the loss allows; those that cost most alone are left in float first."""
    import onnx

    source = onnx.load_model_from_string(original)
    graph.lower(source, max(QDQ, source.opset_import[0].version))
    layers = _inner_convolutions(source)
    ranges = _ranges(source, judge.low)

    def made(names: Sequence[str]) -> Reduced:
        return _judged(_quantised(source, ranges, names), judge, seen, len(names), len(layers))

    left = list(layers)
    reduced = made(left)
    if reduced.psnr_loss > allowed:
        alone = {name: made([name]).psnr_loss for name in layers}
        for name in sorted(layers, key=lambda name: -alone[name]):
            left.remove(name)
            reduced = made(left)
            if reduced.psnr_loss <= allowed:
                break
    return reduced


def _judged(proto: Any, judge: Judge, original: Seen, quantised: int, layers: int) -> Reduced:
    blob = proto.SerializeToString(deterministic=True)
    found = judge.look(blob)
    apart = [np.abs(one - other).max() for one, other in zip(original.images, found.images, strict=True)]
    lost = [one - other for one, other in zip(original.psnr, found.psnr, strict=True)]
    worst, loss = (float(np.max(values)) for values in (apart, lost))  # NaN where one is, as Python's max is not
    return Reduced(blob, loss, worst, quantised, layers)


def _rounded(image: Tensor) -> np.ndarray:
    """The levels that a file of 8 bits holds."""
    return ((image.clamp(0, 1) * 255 + 0.5).floor() / 255).numpy()


def _inner_convolutions(proto: Any) -> list[str]:
    """Names of the convolutions wider than a pixel and of LEAST channels a side, between two nonlinearities.

    They have one before them, and one behind them on some way to the image. The clipping at the end is none.
    """
    nodes = list(proto.graph.node)
    bent: set[str] = set()  # tensors behind a nonlinearity
    for node in nodes:
        if node.op_type in BENDING or any(name in bent for name in node.input):
            bent.update(node.output)
    ahead: set[str] = set()  # tensors that meet another one
    for node in reversed(nodes):
        if node.op_type in BENDING or any(name in ahead for name in node.output):
            ahead.update(node.input)
    shapes = {item.name: list(item.dims) for item in proto.graph.initializer}
    found = []
    for node in nodes:
        shape = shapes.get(node.input[1], []) if node.op_type == "Conv" else []
        wide = len(shape) == 4 and min(shape[:2]) >= LEAST and max(shape[2:]) > 1
        if wide and node.input[0] in bent and node.output[0] in ahead:
            found.append(node.name)
    return found


def _ranges(proto: Any, low: Sequence[np.ndarray]) -> Any:
    """The least and the largest value of each convolution's input and output over the windows."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Windows(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(low)

        def get_next(self) -> dict[str, np.ndarray]:
            image = next(self._left, None)
            return {} if image is None else {"low": image}  # nothing ends the calibration

    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "source.onnx"
        onnx.save_model(proto, source)
        calibrator = create_calibrator(
            source,
            ["Conv"],
            str(Path(scratch) / "watched.onnx"),
            CalibrationMethod.MinMax,
            use_external_data_format=False,
        )
        calibrator.collect_data(Windows())
        ranges = calibrator.compute_data()
        calibrator.infer_session = None
    return ranges


def _quantised(source: Any, ranges: Any, names: Sequence[str]) -> Any:
    """The graph with these layers in int8, as pairs of QuantizeLinear and DequantizeLinear."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    proto = onnx.ModelProto()
    proto.CopyFrom(source)
    if names:
        quantiser = QDQQuantizer(
            proto,
            per_channel=True,
            reduce_range=True,  # 7 bits: on processors without VNNI sums of two products saturate at 16
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=list(names),
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv"],
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
        proto = quantiser.model.model
    graph.lower(proto, max(QDQ, source.opset_import[0].version))
    return proto
