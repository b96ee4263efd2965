"""ONNX: write a net as a file that ONNX runtimes load, and prove that it gives the same numbers (session.py runs it).

A network is wrapped, never edited; where that is cheaper its linear chains are folded (folding.py), and its graph is
made plain (graph.py). An exported file carries its card (scale, padding, tiles, metrics, hashes) in its own metadata,
so that nothing beside it is needed to use it.
"""

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import folding, graph, overlap
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.networks.sr.network import EstimatingNetwork
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import RESTORED, OnnxCard, Session, outputs_of

LARGEST = 16384  # rows or columns of an input; a bound that the exporter wants, far above any tile
BATCH = 64
ESTIMATED = ("kernel", "noise")  # of a DegradationEstimate, what is an output of the graph
EXPORTER = 18  # operator set that torch.onnx writes by itself; graph.lower goes on from there


class OnnxNet(nn.Module):
    """A net as it is exported: its image clipped to [0, 1], then what it estimates of its input, if it does.

    Attributes:
        outputs: names of what `forward` gives, in its order.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.outputs = [RESTORED, *ESTIMATED] if isinstance(net, EstimatingNetwork) else [RESTORED]

    def forward(self, low: Float[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        if not isinstance(self.net, EstimatingNetwork):
            return (self.net(low).clamp(0, 1),)
        prepared = self.net.prepare(low)
        estimate = self.net.estimate(prepared)
        features = self.net.restore(prepared, estimate)
        image = self.net.paint(features[-1], len(features) - 1)
        return image.clamp(0, 1), *(getattr(estimate, name) for name in ESTIMATED)

    def everything(self, low: Float[np.ndarray, "b c h w"]) -> dict[str, np.ndarray]:
        """The outputs by name, from an array to arrays, without gradients."""
        place = next(self.net.parameters()).device
        with torch.no_grad():
            found = self(torch.from_numpy(np.ascontiguousarray(low)).to(place))
        return {name: value.cpu().numpy() for name, value in zip(self.outputs, found, strict=True)}

    def run(self, low: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b c H W"]:
        """The image alone."""
        return self.everything(low)[RESTORED]


@dataclasses.dataclass(frozen=True)
class Written:
    """The card inside an exported file, with the operator set that the file came to need, and its parity."""

    card: OnnxCard
    worst: float  # |PyTorch - ONNX Runtime|


def write(net: nn.Module, card: OnnxCard, path: Path, check: ParityCheck, *, fold: bool = True) -> Written:
    """Export `net` to `path`, and its card to the .json beside it.

    Batch, height and width stay free. On one machine the same net and card give the same bytes.

    Args:
        net: enlarges images in [0, 1].
        card: of the file (`describe`).
        path: the .onnx file.
        check: what the file is compared at; none of its sizes should be the size of tracing.
        fold: whether linear chains become one convolution each, where that is cheaper.

    Returns:
        The card as it was written, and the worst |PyTorch - ONNX Runtime|.

    Raises:
        FoundryError: the numbers differ by more than is tolerated; then no file is left.
    """
    wrapped = OnnxNet(net).cpu().float().eval()
    folded = folding.fold(net) if fold else net
    card = dataclasses.replace(card, folded=folded is not net, outputs=wrapped.outputs)
    blob, card = _to_bytes(OnnxNet(folded).eval(), card)
    write_bytes(path, blob)
    worst = parity(wrapped, Session(path, threads=1, device="cpu"), check.sizes)
    if not worst <= check.tolerance:  # the comparison is written so that NaN fails too
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        raise FoundryError(
            f"{path.name} must give PyTorch's numbers within {check.tolerance:g}, got a difference of {worst:g}; "
            "the file was deleted: try a later export.opset"
        )
    write_card(path, card)
    return Written(card, worst)


def parity(wrapped: OnnxNet, session: Session, sizes: Sequence[Sequence[int]]) -> float:
    """The largest |PyTorch - ONNX Runtime| of any output over random images in [0, 1].

    Args:
        wrapped: the network in PyTorch, clipping its image.
        session: the exported file.
        sizes: height and width of each image.
    """
    differences: list[float] = []
    for height, width in sizes:
        rng = seeds.generator(0, "parity", height, width)
        low = torch.rand(1, session.card.channels, height, width, generator=rng).numpy()
        expected = outputs_of(wrapped.everything, low, session.card)
        found = session.outputs(low)
        differences += [float(np.abs(value - found[name]).max()) for name, value in expected.items()]
    return float(np.max(differences))  # NaN wins, as it should


def describe(
    net: nn.Module,
    made: cards.Card,
    target: GraphTarget,
    *,
    pictures: Sequence[Float[np.ndarray, "1 3 h w"]],
    name: str,
    data_hash: str,
    metrics: Mapping[str, Any],
) -> OnnxCard:
    """The card of the file that `net` will be exported to.

    Args:
        net: to export.
        made: its checkpoint's card.
        target: oldest operator set to try, and tiles.
        pictures: windows of photographs, in [0, 1], on which the tiles' overlap is measured.
        name: of the exported model.
        data_hash: of the photographs.
        metrics: to add to the checkpoint's.
    """
    found = overlap.least(OnnxNet(net).run, pictures, made.scale, target.tile_error)
    return OnnxCard(
        name=name,
        arch=made.arch,
        scale=made.scale,
        channels=3,
        value_range=[0.0, 1.0],
        multiple_of=made.multiple_of,
        tile=target.tile,
        overlap=found.pixels,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        opset=target.opset,
        metrics={**{name: value for name, value in made.metrics.items() if name != cards.TRAINED_FOR}, **metrics},
        made_by=made.made_by,
        params_hash=made.params_hash,
        data_hash=data_hash,
        tile_error=round(found.error, 6),
        trained_for=made.metrics.get(cards.TRAINED_FOR),
    )


def stamped(model: Any, card: OnnxCard) -> bytes:
    """The file of an onnx.ModelProto with this card in its metadata, instead of any other."""
    del model.metadata_props[:]
    for key, value in dataclasses.asdict(card).items():
        model.metadata_props.add(key=key, value=json.dumps(value, sort_keys=True))
    return model.SerializeToString(deterministic=True)


def write_card(path: Path, card: OnnxCard) -> None:
    """The card of an .onnx file, into the .json beside it."""
    text = json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True) + "\n"
    write_bytes(path.with_suffix(".json"), text.encode())


def read_proto(path: Path) -> Any:
    """The onnx.ModelProto of an exported file, for the registry."""
    import onnx

    return onnx.load_model(path, load_external_data=False)


def _to_bytes(wrapped: OnnxNet, card: OnnxCard) -> tuple[bytes, OnnxCard]:
    """The file, and its card with the operator set that it came to need."""
    from torch.export import Dim

    # Two images and height != width: a dimension of one, or two equal ones, would be frozen by the tracing.
    example = torch.rand(2, card.channels, 24, 40, generator=seeds.generator(0, "export"))
    dynamic = {0: Dim("batch", min=1, max=BATCH)}
    if card.multiple_of > 1:
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
            opset_version=EXPORTER,
            input_names=["low"],
            output_names=wrapped.outputs,
            dynamic_shapes=(dynamic,),
        )
    if program is None:
        raise FoundryError("torch.onnx returned no program; check the installed torch and onnxscript versions")
    model = program.model_proto
    if card.multiple_of == 1:  # convolutions ask for no size: traced at one, in half the time; the comparison shows
        graph.free(model)
    graph.anonymise(model, card.scale)
    graph.plain(model)
    card = dataclasses.replace(card, opset=graph.lower(model, card.opset))
    return stamped(model, card), card


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
