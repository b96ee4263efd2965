"""A folded network gives the same images, with fewer multiply-adds, at every size that a graph takes."""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from srfoundry.core import seeds
from srfoundry.deployment import export, folding
from srfoundry.deployment.folding import COUNTED, FoldedDRN, FoldedTail, fold
from srfoundry.deployment.settings import ParityCheck
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.swinir import SwinIR
from srfoundry.runtime.session import Session
from tests import tiny

SIZES = [(4, 4), (5, 8), (8, 4), (24, 13)]  # the least that a graph takes, and odd ones
NETS = {
    "drn2": lambda: DRN(scale=2, blocks=1, width=12),
    "drn2 pruned": lambda: DRN(scale=2, blocks=2, width=16, inner=[12, 8, 4, 8]),
    "drn3": lambda: DRN(scale=3, blocks=1, width=12),
    "drn4": lambda: DRN(scale=4, blocks=1, width=6),
    "drn8": lambda: DRN(scale=8, blocks=1, width=4),
    "edsr2": lambda: EDSR(scale=2, blocks=1, width=8),
    "edsr3": lambda: EDSR(scale=3, blocks=1, width=8),
    "edsr4": lambda: EDSR(scale=4, blocks=1, width=8, inner=[5]),
    "edsr8": lambda: EDSR(scale=8, blocks=1, width=8),
    "swinir4": lambda: SwinIR(scale=4, depths=[1], width=12, heads=2, window=4, direct=False),
}


@cache
def net(name: str) -> nn.Module:
    """A network with random weights, biases too, in float64."""
    made = NETS[name]().double()
    rng = seeds.generator(1, "folding", name)
    for value in made.parameters():
        if value.requires_grad:
            value.data = torch.randn(value.shape, generator=rng, dtype=torch.float64) / value[0].numel() ** 0.5
    return made.eval()


@pytest.mark.parametrize("name", NETS)
def test_the_image_is_the_same_and_the_work_is_less(name: str) -> None:
    """Within float32's rounding of the new weights, borders and corners too; the network keeps its own weights."""
    original = net(name)
    before = {key: value.clone() for key, value in original.state_dict().items()}
    folded = fold(original)
    assert isinstance(folded, FoldedTail if name[0] != "d" else FoldedDRN)
    folded = folded.double()
    for height, width in SIZES:
        low = torch.rand(2, 3, height, width, generator=seeds.generator(0, height, width), dtype=torch.float64)
        low = torch.nn.functional.pad(low, (0, -width % 4, 0, -height % 4)) if name[0] == "s" else low
        with torch.no_grad():
            expected, found = original(low), folded(low)
        assert float((found - expected).abs().max()) < 3e-6 * float(expected.abs().max())
    assert all(torch.equal(value, before[key]) for key, value in original.state_dict().items())
    low = torch.empty(1, 3, COUNTED, COUNTED, device="meta")
    assert multiplications(folded.to("meta"), low.double()) < multiplications(NETS[name]().to("meta"), low)


@pytest.mark.parametrize("name", ["narrow", "direct", "foreign"])
def test_what_gains_nothing_stays_itself(name: str) -> None:
    """A net so narrow that the folded convolutions are the larger ones; no shuffle but the last; no such network."""
    given = {
        "narrow": DRN(scale=2, blocks=1, width=4),
        "direct": SwinIR(scale=2, depths=[1], width=12, heads=2, window=4),
        "foreign": nn.Conv2d(3, 3, 1),
    }[name]
    assert fold(given) is given


def test_a_folded_file_is_proven_against_the_network_and_says_so(tmp_path: Path) -> None:
    """The gate compares with the net as it was trained; the graph stays as plain as an unfolded one."""
    original = net("drn2").float()
    check = ParityCheck(sizes=[(20, 30), (5, 4), (3, 2)], tolerance=1e-4)
    written = export.write(original, tiny.describe(), tmp_path / "folded.onnx", check)
    assert written.worst < 1e-5 and written.card.folded
    assert Session(tmp_path / "folded.onnx", threads=1).card == written.card
    proto = export.read_proto(tmp_path / "folded.onnx")
    assert (proto.ir_version, proto.opset_import[0].version) == (6, 11)
    assert proto.graph.node[0].op_type == "Add"  # OpenCV's DNN finds the free sizes by it
    allowed = {"Add", "Clip", "Concat", "Conv", "DepthToSpace", "GlobalAveragePool", "LeakyRelu", "Mul", "Pad", "Relu"}
    assert {node.op_type for node in proto.graph.node} == allowed | {"Sigmoid", "Slice"}
    assert not tiny.describe().folded


def test_a_chain_is_one_convolution() -> None:
    """Kernel and constant are read from what the chain makes of impulses."""
    rng = seeds.generator(2, "chain")
    first, second = nn.Conv2d(2, 8, 3, padding=1).double(), nn.Conv2d(2, 3, 3, padding=1).double()
    conv = folding.composed(lambda low: second(nn.functional.pixel_shuffle(first(low), 2)), 2, 2, 2)
    low = torch.rand(1, 2, 9, 11, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        expected = second(nn.functional.pixel_shuffle(first(low), 2))[..., 4:-4, 4:-4]
        torch.testing.assert_close(nn.functional.pixel_shuffle(conv(low), 2), expected)
