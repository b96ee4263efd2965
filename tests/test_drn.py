"""The DRN against the authors' outputs and losses, its parameter table, and the algebra behind its rewritten parts."""

import pytest
import torch
from torch.nn import functional

from srfoundry.dual import closed_loop
from srfoundry.networks.drn import DRN, DualNets, Enlarge, inner_widths, reductions, start_at_bicubic
from srfoundry.networks.units import convolution, multiplications, parameters_at, widths_of
from srfoundry.seeds import generator, redraw
from tests.closed import count, fill, reference


@pytest.mark.parametrize(
    ("scale", "blocks", "width", "parameters"),
    [(4, 30, 16, 4_804_065), (4, 40, 20, 9_825_893), (8, 30, 8, 5_403_000), (8, 36, 10, 10_004_018)],
)
def test_parameters_as_published(scale: int, blocks: int, width: int, parameters: int) -> None:
    assert count(DRN(scale=scale, blocks=blocks, width=width)) == parameters


def test_dual_nets_are_small_and_apart() -> None:
    assert count(DualNets(scale=4, width=16)) == 1728
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
        torch.testing.assert_close(image, torch.from_numpy(data[f"x{scale}_sr{k}"]), atol=2e-5, rtol=0)
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


@pytest.mark.parametrize("scale", [2, 3])
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
        convolution(DRN(scale=2, blocks=1, width=8), "ups.0")


@pytest.mark.parametrize(("blocks", "width", "billions"), [(30, 16, 109.92), (40, 20, 224.76)])
def test_multiplications_as_published(blocks: int, width: int, billions: float) -> None:
    net = DRN(scale=4, blocks=blocks, width=width).to("meta")
    assert multiplications(net, torch.zeros(1, 3, 96, 96, device="meta")) == pytest.approx(billions * 1e9, rel=1e-3)
