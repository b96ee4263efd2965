"""The DRN against the authors' outputs and losses, its parameter table, and the algebra behind its rewritten parts."""

import pytest
import torch
from torch.nn import functional

from srfoundry.core.seeds import generator, redraw
from srfoundry.dual_regression.loss import closed_loop
from srfoundry.imaging.scales import reductions
from srfoundry.networks.sr.drn import DRN, inner_widths, start_at_bicubic
from srfoundry.networks.sr.duals import DualNets, StraightDual
from srfoundry.networks.sr.fixed_layers import Enlarge
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import end_of, parameters_at, widths_of
from tests.closed import count, fill
from tests.conftest import reference


@pytest.mark.parametrize(
    ("scale", "blocks", "width", "parameters"),
    [(4, 30, 16, 4_804_065), (4, 40, 20, 9_825_893), (8, 30, 8, 5_403_000), (8, 36, 10, 10_004_018)],
)
def test_parameters_as_published(scale: int, blocks: int, width: int, parameters: int) -> None:
    assert count(DRN(scale=scale, blocks=blocks, width=width)) == parameters


def test_dual_nets_are_small_and_apart() -> None:
    assert count(DualNets(scale=4, width=16)) == 1728
    assert [count(StraightDual(scale=scale)) for scale in (2, 3, 4)] == [864, 864, 3168]
    assert not any("dual" in name for name, _ in DRN(scale=2, blocks=1, width=8).named_parameters())


@pytest.mark.parametrize(
    ("kept", "widths"),
    [
        (3_315_089, [12, 20] + [44] * 62),
        (3_391_525, [12, 23] + [45] * 62),
        (3_489_645, [16, 32] + ([45] * 30 + [64]) * 2),
    ],
)
def test_pruned_counts_match_the_notes(kept: int, widths: list[int]) -> None:
    dense = DRN(scale=4, blocks=30, width=16)
    pruned = DRN(scale=4, blocks=30, width=16, inner=widths)
    assert count(pruned) == kept == parameters_at(dense, dense.units(), widths)


Many = tuple[tuple[int, int], ...]  # (width, how many blocks of an up phase have it)
PUBLISHED: dict[str, tuple[int, list[int], list[int], list[Many]]] = {  # of DRC: scale, downs, shuffles, blocks
    "x4 30": (4, [12, 20], [40, 44], [((36, 8), (40, 12), (44, 10)), ((36, 1), (40, 11), (44, 18))]),
    "x4 50": (4, [4, 8], [28, 32], [((16, 1), (24, 5), (28, 11), (32, 13)), ((28, 5), (32, 25))]),
    "x4 70": (4, [4, 8], [20, 20], [((12, 1), (16, 13), (20, 16)), ((16, 7), (20, 23))]),
    "x8 30": (
        8,
        [4, 12, 20],
        [44, 44, 20],
        [((32, 1), (36, 4), (40, 10), (44, 15)), ((36, 4), (40, 10), (44, 16)), ((16, 9), (20, 21))],
    ),
    "x8 50": (
        8,
        [4, 8, 16],
        [24, 32, 16],
        [((24, 4), (28, 9), (32, 17)), ((24, 2), (28, 11), (32, 17)), ((12, 5), (16, 25))],
    ),
    "x8 70": (
        8,
        [4, 8, 16],
        [16, 20, 8],
        [((12, 1), (16, 9), (20, 20)), ((16, 11), (20, 19)), ((4, 4), (8, 26))],
    ),
}


@pytest.mark.parametrize(
    ("name", "total", "parameters"),
    [
        ("x4 30", 2592, 3_116_637),
        ("x4 50", 1872, 2_267_417),
        ("x4 70", 1164, 1_427_545),
        ("x8 30", 3192, 3_490_832),
        ("x8 50", 2352, 2_548_420),
        ("x8 70", 1408, 1_572_288),
    ],
)
def test_published_widths_give_the_published_counts(name: str, total: int, parameters: int) -> None:
    scale, widths, spreads, phases = PUBLISHED[name]
    for blocks, spread in zip(phases, spreads, strict=True):
        widths = [*widths, *(width for width, times in blocks for _ in range(times)), spread]
    net = DRN(scale=scale, blocks=30, width=32 // scale * 2, inner=widths)
    assert sum(widths) == total and count(net) == parameters
    assert widths_of(net, net.units()) == widths


@pytest.mark.parametrize(("scale", "blocks", "width"), [(4, 2, 16), (8, 1, 8)])
def test_outputs_and_losses_match_the_authors(scale: int, blocks: int, width: int) -> None:
    data = reference("drn_forward_loss")
    net = DRN(scale=scale, blocks=blocks, width=width, peak=255.0).double()
    duals = DualNets(scale=scale, width=width).double()
    fill(net)
    fill(duals)
    phases = scale.bit_length() - 1
    names = [f"x{scale}_lr{k}_X{scale >> k}" for k in range(phases)] + [f"x{scale}_hr"]
    wanted = [torch.from_numpy(data[name]).double() for name in names]
    images = net.images(wanted[0])
    mapped = duals(images)
    for k, image in enumerate(images):
        torch.testing.assert_close(image[:1], torch.from_numpy(data[f"x{scale}_sr{k}"]), atol=2e-5, rtol=0)
    torch.testing.assert_close(net(wanted[0]), images[-1], atol=0, rtol=0)
    terms = closed_loop(images, mapped, wanted, 0.1)
    found = {name: float(value.detach()) for name, value in terms.items()}
    assert found["total"] == pytest.approx(float(data[f"x{scale}_total"]), rel=1e-6)
    assert found["primal"] == pytest.approx(float(data[f"x{scale}_primal"].sum()), rel=1e-6)
    assert found["dual"] == pytest.approx(float(data[f"x{scale}_dual"].sum()), rel=1e-6)
    terms["total"].backward()
    first = duals[0]
    for weight, name in ((net.head.weight, "head"), (first.get_parameter("reduce.weight"), "dual0")):
        assert weight.grad is not None
        theirs = torch.from_numpy(data[f"x{scale}_grad_{name}"])
        assert float((weight.grad - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_enlargement_is_torchs_bicubic(scale: int) -> None:
    low = torch.rand(2, 3, 7, 5, generator=generator(0, "low"))
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    torch.testing.assert_close(Enlarge(scale)(low), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_it_can_start_as_bicubic_and_still_learn_everything(scale: int) -> None:
    net = DRN(scale=scale, blocks=1, width=8)
    redraw(net, generator(0, "net"))
    start_at_bicubic(net)
    low = torch.rand(1, 3, 9, 12, generator=generator(0, "low"))
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    assert float((net(low) - wanted).detach().abs().max()) < 0.1
    sum(image.square().mean() for image in net.images(low)).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(w.grad is not None for w in net.parameters() if w.requires_grad)


def test_three_is_one_phase() -> None:
    """Stride 3 down and a pixel shuffle by 3 up, sizes exact for odd inputs; the dual net undoes the phase."""
    net, duals = DRN(scale=3, blocks=2, width=8), DualNets(scale=3, width=8)
    fill(net)
    fill(duals)
    low = torch.rand(1, 3, 7, 5, generator=generator(0, "low"))
    images = net.images(low)
    assert [tuple(image.shape[-2:]) for image in images] == [(7, 5), (21, 15)]
    assert [tuple(image.shape[-2:]) for image in duals(images)] == [(7, 5)]
    torch.testing.assert_close(net(low), images[-1], atol=0, rtol=0)
    two = DRN(scale=2, blocks=2, width=8)
    assert widths_of(net, net.units()) == inner_widths(3, 2, 8) == inner_widths(2, 2, 8)
    assert count(net) - count(two) == 5 * 16 * (9 * 16 + 1), "only the convolution before the shuffle has grown"
    assert [unit.fold for unit in net.units()] == [1, 1, 1, 9]
    assert parameters_at(net, net.units(), [4, 8, 8, 12]) == count(DRN(scale=3, blocks=2, width=8, inner=[4, 8, 8, 12]))


@pytest.mark.parametrize(("scale", "low"), [(2, (7, 5)), (3, (7, 5)), (4, (6, 4)), (8, (2, 3))])
def test_a_straight_dual_looks_at_the_last_image(scale: int, low: tuple[int, int]) -> None:
    dual = StraightDual(scale=scale, width=4)
    redraw(dual, generator(0, "dual"))
    high = torch.rand(2, 3, scale * low[0], scale * low[1], generator=generator(0, "high"))
    (mapped,) = dual([torch.zeros(1), high])
    assert tuple(mapped.shape) == (2, 3, *low)
    torch.testing.assert_close(dual([255 * high])[0], 255 * mapped, atol=1e-4, rtol=1e-5)


def test_reductions_are_the_sizes_on_the_way() -> None:
    assert [reductions(scale) for scale in (2, 3, 4, 8)] == [[1, 2], [1, 3], [1, 2, 4], [1, 2, 4, 8]]


def test_units_are_the_papers_layers_in_order() -> None:
    net = DRN(scale=4, blocks=2, width=16)
    units = net.units()
    assert [unit.consumer for unit in units] == [
        "downs.0.expand",
        "downs.1.expand",
        "ups.0.blocks.0.second",
        "ups.0.blocks.1.second",
        "ups.0.merge",
        "ups.1.blocks.0.second",
        "ups.1.blocks.1.second",
        "ups.1.merge",
    ]
    assert widths_of(net, units) == inner_widths(4, 2, 16) == [16, 32, 64, 64, 64, 64, 64, 64]


def test_rejects_what_it_cannot_be() -> None:
    for scale in (1, 6):
        with pytest.raises(ValueError, match="power of two from 2 up, or 3"):
            DRN(scale=scale, blocks=1, width=8)
    with pytest.raises(ValueError, match="inner must list 3"):
        DRN(scale=2, blocks=1, width=8, inner=[8])
    with pytest.raises(TypeError, match="plain convolutions"):
        end_of(DRN(scale=2, blocks=1, width=8), "ups.0")


@pytest.mark.parametrize(("blocks", "width", "billions"), [(30, 16, 109.92), (40, 20, 224.76)])
def test_multiplications_as_published(blocks: int, width: int, billions: float) -> None:
    net = DRN(scale=4, blocks=blocks, width=width).to("meta")
    assert multiplications(net, torch.zeros(1, 3, 96, 96, device="meta")) == pytest.approx(billions * 1e9, rel=1e-3)
