"""Batches with images that have no photograph, their loss, and a dual map of an estimated kernel."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import operator
from srfoundry.degradation.kernels import gaussian
from srfoundry.dual_regression.batches import read_unpaired, reduced_by, targets, windows
from srfoundry.dual_regression.loss import closed_loop, loss_of
from srfoundry.imaging import images
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.zoo import cards
from tests.closed import CPU, nets, photographs

BLUR = gaussian(7, torch.tensor([0.4]), torch.tensor([3.0]), torch.tensor([1.0]))
DELTA = torch.zeros(1, 3, 3).index_put((torch.tensor(0), torch.tensor(1), torch.tensor(1)), torch.tensor(1.0))


def rows(*values: float, size: int = 2) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, size, size)


def test_an_image_without_a_photograph_has_the_dual_term_alone() -> None:
    """Two pairs and one lone image at x4, by hand: L = mean over the three of 1[paired] L_P + 0.1 L_D."""
    images_ = [rows(1, 2, 5), rows(1, 1, 7, size=4), rows(0, 1, 9, size=8)]
    wanted = [rows(0, 0, 3), rows(0, 0, size=4), rows(0, 0, size=8)]
    mapped = [rows(0, 1, 2), rows(1, 1, 3, size=4)]
    terms = closed_loop(images_, mapped, wanted, 0.1)
    paired = (1 + 1 + 0) + (2 + 1 + 1)
    # the lone one: its own image (7) stands for the target between; its low image is 3
    assert float(terms["primal"]) == pytest.approx(paired / 3)
    assert float(terms["dual"]) == pytest.approx(((0 + 1) + (1 + 1) + (1 + 4)) / 3)
    assert float(terms["total"]) == pytest.approx(float(terms["primal"]) + 0.1 * float(terms["dual"]))


def test_what_stands_for_an_unknown_target_is_held_fixed() -> None:
    """At x4 the last dual result of a lone image is held against its own half-way image, which learns nothing there."""
    between, last = rows(7.0, size=4).clone().requires_grad_(), rows(5.0, size=4).clone().requires_grad_()
    pictures, mapped = [rows(5.0), between, rows(9.0, size=8)], [rows(2.0), last]
    wanted = [rows(3.0), *(torch.zeros(0, 3, size, size) for size in (4, 8))]
    dual = closed_loop(pictures, mapped, wanted, 1.0)["dual"]
    assert float(dual.detach()) == pytest.approx(1 + 2)
    gradients = torch.autograd.grad(dual, [between, last], allow_unused=True)
    assert gradients[0] is None and gradients[1] is not None


def test_lone_images_train_the_primal(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"), factors=[1, 2])
    loss = loss_of(duals, scale=2, weight=0.1, compute=Compute(CPU))
    low = windows([torch.rand(1, 3, 12, 20, generator=generator(1, "low"))], count=1, size=8, rng=generator(2, "cut"))
    mixed = {**batch, 2: torch.cat([batch[2], low])}
    terms = loss(net, mixed)
    pairs = [loss(net, batch)[name].detach() for name in ("primal", "dual")]
    assert float(terms["primal"].detach()) == pytest.approx(float(pairs[0]) * 2 / 3, rel=1e-5)
    alone = (duals(net.images(low))[0] - low).abs().mean()
    assert float(terms["dual"].detach()) == pytest.approx((2 * float(pairs[1]) + float(alone.detach())) / 3, rel=1e-5)
    (gradient,) = torch.autograd.grad(alone, [net.head.weight])
    assert float(gradient.abs().max()) > 0


def test_windows_are_cut_from_the_images_alone() -> None:
    sources = [torch.full((1, 3, 9, 14), 0.25), torch.full((1, 3, 30, 8), 0.75)]
    found = windows(sources, count=40, size=8, rng=generator(1, "cut"))
    assert found.shape == (40, 3, 8, 8)
    assert set(found.flatten().tolist()) == {0.25, 0.75}
    assert torch.equal(found, windows(sources, count=40, size=8, rng=generator(1, "cut")))


def test_a_folder_of_low_resolution_photographs(tmp_path: Path) -> None:
    for name, side in (("b.png", 20), ("a.png", 16)):
        images.write(torch.rand(1, 3, 16, side, generator=generator(1, name)), tmp_path / "low" / name)
    assert [tuple(image.shape) for image in read_unpaired(tmp_path / "low", 16)] == [(1, 3, 16, 16), (1, 3, 16, 20)]
    with pytest.raises(FoundryError, match=r"a\.png \(16x16\) is smaller than a low-resolution patch of 17; remove it"):
        read_unpaired(tmp_path / "low", 17)


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_kernels_way_down_is_the_degradation(scale: int, decimation: operator.Decimation) -> None:
    high = torch.rand(2, 3, 24, 36, generator=generator(1, "high"))
    wanted = operator.degrade(high, BLUR, scale, decimation=decimation)
    for learn in (False, True):
        made = KernelDual.of(BLUR, scale=scale, decimation=decimation, learn=learn)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (low,) = made([high[..., :12, :12], high])
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, wanted, atol=2e-4 if learn else 0, rtol=0)
        assert float(made.kernel.detach().sum()) == pytest.approx(1, abs=1e-5)
        assert [name for name, _ in made.named_parameters()] == (["logits"] if learn else [])


def test_a_learned_kernel_finds_the_true_one() -> None:
    """Started from a round kernel, it leans to the one that made the low image, and stays a kernel on the way."""
    high = torch.rand(1, 3, 64, 64, generator=generator(1, "high"))
    low = operator.degrade(high, BLUR, 2)
    made = KernelDual.of(gaussian(7, torch.ones(1), torch.ones(1), torch.zeros(1)), scale=2, learn=True)
    start = float((made.kernel - BLUR).abs().sum().detach())
    adam = torch.optim.Adam(made.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        (made([high])[0] - low).abs().mean().backward()
        adam.step()
    assert float((made.kernel - BLUR).abs().sum().detach()) < 0.2 * start
    assert float(made.kernel.detach().min()) > 0


def test_a_kernels_file_holds_it(tmp_path: Path) -> None:
    arch = {"name": "kernel_dual", "scale": 2, "size": 7, "decimation": "direct", "learn": False}
    made = KernelDual.of(BLUR, scale=2)
    cards.save(tmp_path / "k", made, arch=arch, scale=2, made_by="dual", params_hash="0" * 16)
    loaded, _ = cards.load(tmp_path / "k")
    assert isinstance(loaded, KernelDual) and torch.equal(loaded.kernel, made.kernel)


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(FoundryError, match="sum"):
        KernelDual.of(2 * BLUR, scale=2)


def test_pairs_can_come_through_a_kernel(tmp_path: Path) -> None:
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    plain = reduced_by(KernelDual.of(DELTA, scale=2, decimation="bicubic"), batch, 2)
    assert float((plain[2] - batch[2])[..., 2:-2, 2:-2].abs().max()) < 0.006, "no blur: MATLAB's bicubic, in 8 bits"
    blurred = reduced_by(KernelDual.of(BLUR, scale=2), batch, 2)
    assert torch.equal(blurred[1], batch[1])
    torch.testing.assert_close(targets(blurred, 2)[0] * 255, (targets(blurred, 2)[0] * 255).round(), atol=1e-4, rtol=0)
