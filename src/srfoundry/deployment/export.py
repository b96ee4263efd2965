"""ONNX: write a net as a file that runs anywhere, prove that it gives the same numbers, and run such files.

The only file that imports onnx and onnxruntime. A network is wrapped, never edited. An exported file carries its card
(scale, padding, tile hint, metrics, hashes) in its own metadata, so that nothing beside it is needed to use it.
"""

import dataclasses
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import tiling
from srfoundry.networks.zoo import cards

LARGEST = 16384  # rows or columns of an input; a bound that the exporter wants, far above any tile
SMALLEST = 4
BATCH = 64


@dataclasses.dataclass(frozen=True)
class OnnxCard:
    """What a user of an exported file must know; every value is plain JSON."""

    name: str
    arch: dict[str, Any]  # as in the checkpoint: enough to rebuild the PyTorch net
    scale: int
    channels: int  # of input and output: RGB in that order
    value_range: list[float]  # of input and output; the graph itself clips its output
    multiple_of: int  # height and width of the input must be multiples of this; Session pads and crops
    tile: int  # suggested input pixels a side
    overlap: int  # suggested input pixels that a tile reaches into its neighbours: about the receptive field
    parameters: int
    opset: int
    metrics: dict[str, Any]
    made_by: str  # the stage that trained it
    params_hash: str
    data_hash: str


class OnnxNet(nn.Module):
    """A net as it is exported: its output clipped to [0, 1]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        return self.net(low).clamp(0, 1)


def write(net: nn.Module, card: OnnxCard, path: Path, *, sizes: Sequence[Sequence[int]], tolerance: float) -> float:
    """Export `net` to `path` (and its card to the .json beside it); return the worst |PyTorch - ONNX Runtime|.

    Batch, height and width stay free. The comparison runs at every (height, width) of `sizes`, none of which is the
    size of tracing. On one machine the same net and card give the same bytes.

    Raises:
        FoundryError: the numbers differ by more than `tolerance`; then no file is left.
    """
    wrapped = OnnxNet(net).cpu().float().eval()
    write_bytes(path, _to_bytes(wrapped, card))
    worst = parity(wrapped, Session(path, threads=1, device="cpu"), sizes)
    if not worst <= tolerance:  # the comparison is written so that NaN fails too
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        raise FoundryError(
            f"{path.name} must give PyTorch's numbers within {tolerance:g}, got a difference of {worst:g}; "
            "the file was deleted: try another export.opset"
        )
    text = json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True) + "\n"
    write_bytes(path.with_suffix(".json"), text.encode())
    return worst


def parity(wrapped: nn.Module, session: "Session", sizes: Sequence[Sequence[int]]) -> float:
    """The largest |PyTorch - ONNX Runtime| over random images in [0, 1] of the given (height, width)."""
    differences: list[Tensor] = []
    for height, width in sizes:
        low = torch.rand(1, session.card.channels, height, width, generator=seeds.generator(0, "parity", height, width))
        with torch.no_grad():
            expected = padded(wrapped, low, session.card.multiple_of, session.scale)
        differences.append((expected - session.run(low)).abs().max())
    return float(torch.stack(differences).max())  # NaN wins, as it should


def describe(
    net: nn.Module,
    made: cards.Card,
    *,
    name: str,
    opset: int,
    tile: int,
    data_hash: str,
    metrics: Mapping[str, Any],
) -> OnnxCard:
    """The card of the file that `net` will be exported to; `made` is its checkpoint's card, `metrics` adds to its."""
    return OnnxCard(
        name=name,
        arch=made.arch,
        scale=made.scale,
        channels=3,
        value_range=[0.0, 1.0],
        multiple_of=made.multiple_of,
        tile=tile,
        overlap=tiling.overlap_for(net, tile),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        opset=opset,
        metrics={**made.metrics, **metrics},
        made_by=made.made_by,
        params_hash=made.params_hash,
        data_hash=data_hash,
    )


class Session:
    """An exported model (a file, or its bytes from the registry), ready to run: `Session(path, threads=2).run(low)`.

    CUDA is chosen by what torch sees, for ONNX Runtime lists CUDA on machines that have none.

    Raises:
        FoundryError: no such file, not an ONNX model, not one with a card, or `device="cuda"` without a GPU.
    """

    def __init__(self, model: Path | bytes, *, threads: int, device: str = "auto") -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        advice = "use a file made by 'dvc repro export'"
        providers = _providers(device)
        path = model if isinstance(model, Path) else Path("the model")
        try:
            blob = model if isinstance(model, bytes) else model.read_bytes()
            self._session = onnxruntime.InferenceSession(blob, options, providers=providers)
        except OSError as error:
            raise FoundryError(f"cannot read the model {path}: {error.strerror}; {advice}") from None
        except (
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NotImplemented,
            state.RuntimeException,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split())[:160]
            raise FoundryError(f"{path} is not a usable ONNX model: {reason}; {advice}") from None
        self.card = _read_card(self._session.get_modelmeta().custom_metadata_map, path)
        self.scale = self.card.scale
        self.device = "cuda" if self._session.get_providers()[0].startswith("CUDA") else "cpu"
        if device == "cuda" and self.device != "cuda":
            raise FoundryError(
                "device cuda was asked for but ONNX Runtime could not start CUDA; "
                "install the libraries onnxruntime-gpu names, or use --device cpu"
            )

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        """Enlarge a float image in [0, 1] of any size; the padding that the net needs is added and cropped."""

        def call(image: Tensor) -> Tensor:
            feed = {"low": image.detach().cpu().float().contiguous().numpy()}
            return torch.from_numpy(self._session.run(["restored"], feed)[0])

        return padded(call, low, self.card.multiple_of, self.scale)


def padded(
    net: Callable[[Tensor], Tensor], low: Float[Tensor, "b c h w"], multiple: int, scale: int
) -> Float[Tensor, "b c H W"]:
    """Run `net` on an image of any size: edges repeated up to a multiple of `multiple`, the result cropped."""
    height, width = low.shape[-2:]
    down = max(-height % multiple, SMALLEST - height)
    across = max(-width % multiple, SMALLEST - width)
    if down > 0 or across > 0:
        low = nn.functional.pad(low, (0, max(across, 0), 0, max(down, 0)), mode="replicate")
    return net(low)[..., : height * scale, : width * scale]


def read_proto(path: Path) -> Any:
    """The onnx.ModelProto of an exported file, for the registry."""
    import onnx

    return onnx.load_model(path, load_external_data=False)


def _providers(device: str) -> list[Any]:
    if device == "cuda" and not torch.cuda.is_available():
        raise FoundryError("device cuda was asked for, got no GPU that torch can see; use --device cpu or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return ["CPUExecutionProvider"]
    import onnxruntime

    onnxruntime.preload_dlls()  # the CUDA libraries that torch brought along
    # TF32 keeps 10 bits of mantissa: differences of 1e-3 would show up as wrong last bits in flat skies.
    # HEURISTIC: the default tries every algorithm anew at each size of image.
    return [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), "CPUExecutionProvider"]


def _read_card(properties: dict[str, str], path: Path) -> OnnxCard:
    try:
        values = {field.name: json.loads(properties[field.name]) for field in dataclasses.fields(OnnxCard)}
        card = OnnxCard(**values)
        sane = [card.scale, card.multiple_of, card.tile, card.channels]
        if not all(isinstance(value, int) and value >= 1 for value in sane) or card.overlap < 0:
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise FoundryError(f"{path} carries no srfoundry card; use a file made by 'dvc repro export'") from None
    return card


def _to_bytes(wrapped: OnnxNet, card: OnnxCard) -> bytes:
    import onnx
    from torch.export import Dim

    # Two images and height != width: a dimension of one, or two equal ones, would be frozen by the tracing.
    example = torch.rand(2, card.channels, 24, 40, generator=seeds.generator(0, "export"))
    dynamic = {0: Dim("batch", min=1, max=BATCH)}
    if card.multiple_of == 1:
        dynamic |= {2: Dim("height", min=SMALLEST, max=LARGEST), 3: Dim("width", min=SMALLEST, max=LARGEST)}
    else:
        most = LARGEST // card.multiple_of
        height, width = Dim("height", min=2, max=most), Dim("width", min=2, max=most)
        dynamic |= {2: card.multiple_of * height, 3: card.multiple_of * width}
        example = example.repeat(1, 1, card.multiple_of, card.multiple_of)
    with torch.no_grad(), _silence():
        program = torch.onnx.export(
            wrapped,
            (example,),
            dynamo=True,
            external_data=False,
            verbose=False,
            opset_version=card.opset,
            input_names=["low"],
            output_names=["restored"],
            dynamic_shapes=(dynamic,),
        )
    if program is None:
        raise FoundryError("torch.onnx returned no program; check the installed torch and onnxscript versions")
    model = program.model_proto
    _anonymise(model, card)
    for key, value in dataclasses.asdict(card).items():
        model.metadata_props.add(key=key, value=json.dumps(value, sort_keys=True))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _anonymise(model: Any, card: OnnxCard) -> None:
    """Remove what the exporter notes about this machine (stack traces with paths) and name the output's sizes."""
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    sizes = graph.output[0].type.tensor_type.shape.dim
    for dim, name in zip(sizes[2:], ("height", "width"), strict=True):
        dim.dim_param = f"{card.scale}*{name}"


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch.onnx from filling the log with torchvision operators and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)
