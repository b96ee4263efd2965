"""Dual regression: the loss's algebra, training that resumes to the same bytes, and a dual term that reaches P."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from srfoundry.core.compute import Compute
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batches, draw, targets
from srfoundry.dual_regression.loss import closed_loop, loss_of
from srfoundry.dual_regression.training import reopen, train, validate
from srfoundry.imaging import resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo import cards
from srfoundry.training.schedules import cosine
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, nets, photographs

DRAWS = PatchDraw(patch=16, octave=0.5, batch=2)


def run(patches: Patches, folder: Path, *, steps: int = 4, rate: float = 1e-3, stop: int | None = None) -> DRN:
    net, duals = nets()
    loss = loss_of(duals, scale=2, weight=0.1, compute=Compute(CPU))

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    batches = Batches(patches=patches, draws=DRAWS, scale=2, stream=Stream(1, "dual"))
    descent = Descent(steps=steps, learning_rate=rate, warmup=1, average=0.5, clip=1.0)
    train(net, duals, loss, batches, descent, resumption=Resumption(folder / "dual.pt", "k", log))
    return net


def same(first: DRN, second: DRN) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_targets_are_smallest_first() -> None:
    batch = {f: torch.zeros(1, 3, 16 // f, 16 // f) for f in (1, 2, 4)}
    assert [t.shape[-1] for t in targets(batch, 4)] == [4, 8, 16]
    assert [t.shape[-1] for t in targets(batch, 2)] == [8, 16]
    assert [t.shape[-1] for t in targets({1: torch.zeros(1, 3, 12, 12), 3: torch.zeros(1, 3, 4, 4)}, 3)] == [4, 12]


@pytest.mark.parametrize("scale", [2, 4])
def test_halved_photographs_are_aligned_at_every_scale(tmp_path: Path, scale: int) -> None:
    patches = photographs(tmp_path)
    batch = draw(patches, replace(DRAWS, batch=4), scale=scale, rng=generator(1, "batch"))
    assert {factor: tuple(image.shape) for factor, image in batch.items()} == {
        factor: (4, 3, 16 // factor, 16 // factor) for factor in (1, 2, 4) if factor <= scale
    }
    for factor in (2, scale):
        smaller = resize.cubic(batch[1], 1 / factor)
        assert float((smaller - batch[factor])[..., 1:-1, 1:-1].abs().max()) < 0.06


def test_at_three_they_are_a_third(tmp_path: Path) -> None:
    patches = photographs(tmp_path, [1, 3])
    batch = draw(patches, replace(DRAWS, batch=4, patch=18), scale=3, rng=generator(1, "batch"))
    assert {factor: tuple(image.shape) for factor, image in batch.items()} == {1: (4, 3, 18, 18), 3: (4, 3, 6, 6)}
    smaller = resize.cubic(batch[1], 1 / 3)
    assert float((smaller - batch[3])[..., 1:-1, 1:-1].abs().max()) < 0.06


def test_loss_is_the_sum_of_means_over_scales() -> None:
    def constant(value: float, size: int) -> Tensor:
        return torch.full((1, 3, size, size), float(value))

    images, wanted = [constant(1, 2), constant(2, 4)], [constant(0.5, 2), constant(0, 4)]
    terms = closed_loop(images, [constant(0.2, 2)], wanted, 0.1)
    assert float(terms["primal"]) == pytest.approx(0.5 + 2.0)
    assert float(terms["dual"]) == pytest.approx(0.3)
    assert float(terms["total"]) == pytest.approx(2.5 + 0.03)


def test_the_dual_term_trains_the_primal(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    loss_of(duals, scale=2, weight=0.1, compute=Compute(CPU))(net, batch)["dual"].backward()
    assert net.head.weight.grad is not None and float(net.head.weight.grad.abs().max()) > 0


def test_weight_zero_is_plain_training_to_the_bit(tmp_path: Path) -> None:
    """The same net from a loop that knows nothing of dual nets, of this module or of the averaging."""
    patches = photographs(tmp_path / "set")
    trained, _ = nets()
    _, duals = nets()
    loss = loss_of(duals, scale=2, weight=0.0, compute=Compute(CPU))
    batches = Batches(patches=patches, draws=DRAWS, scale=2, stream=Stream(1, "dual"))
    descent = Descent(steps=5, learning_rate=1e-3, warmup=1, average=0.0, clip=1.0)
    train(trained, duals, loss, batches, descent, resumption=Resumption(tmp_path / "dual.pt", "k"))
    plain, _ = nets()
    weights = [weight for weight in plain.parameters() if weight.requires_grad]
    adam = torch.optim.Adam(weights, betas=(0.9, 0.99), fused=True)
    for index in range(5):
        batch = draw(patches, DRAWS, scale=2, rng=generator(1, "dual", index))
        adam.param_groups[0]["lr"] = cosine(index, 5, 1e-3, warmup=1)
        low = plain.prepare(batch[2]).contiguous(memory_format=torch.channels_last)
        images = [plain.paint(features, k) for k, features in enumerate(plain.trunk(low))]
        gaps = [(image - target).abs().mean() for image, target in zip(images, (batch[2], batch[1]), strict=True)]
        adam.zero_grad()
        torch.stack(gaps).sum().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
    assert same(trained, plain)


def test_weight_zero_is_the_plain_loss(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    net, duals = nets()
    batch = patches.batch(2, 16, rng=generator(1, "batch"))
    terms = loss_of(duals, scale=2, weight=0.0, compute=Compute(CPU))(net, batch)
    wanted = targets(batch, 2)
    plain = sum((image - target).abs().mean() for image, target in zip(net.images(wanted[0]), wanted, strict=True))
    torch.testing.assert_close(terms["total"], plain, atol=0, rtol=1e-5)


def test_a_teacher_costs_nothing_to_itself(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    loss = loss_of(duals, scale=2, weight=0.1, compute=Compute(CPU), teacher=net, teacher_weight=1.0)
    terms = loss(net, batch)
    assert float(terms["teacher"].detach()) == 0
    redraw(net.ups, generator(2, "other"))
    other, _ = nets()
    assert float(loss(other, batch)["teacher"].detach()) > 0


def test_training_lowers_the_loss_and_validates(tmp_path: Path) -> None:
    patches = photographs(tmp_path / "set")
    before, duals = nets()
    after = run(patches, tmp_path, steps=30, rate=3e-3)
    loss = loss_of(duals, scale=2, weight=0.0, compute=Compute(CPU))
    batch = patches.batch(4, 32, rng=generator(9, "fresh"))
    assert float(loss(after, batch)["total"].detach()) < 0.9 * float(loss(before, batch)["total"].detach())
    scores = validate(after, patches, scale=2, device=CPU)
    assert scores["gain_db"] == pytest.approx(scores["psnr_y"] - scores["bicubic_psnr_y"])


def test_a_stopped_run_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path / "set")
    whole = run(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(patches, tmp_path / "cut", stop=3)
    assert (tmp_path / "cut" / "dual.pt").exists()
    assert same(whole, run(patches, tmp_path / "cut"))


def test_divergence_stops(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="total is"):
        run(photographs(tmp_path / "set"), tmp_path, steps=40, rate=1e30)


def test_reopening_checks_the_kind_of_network(tmp_path: Path) -> None:
    net, duals = nets()
    save = partial(cards.save, scale=2, made_by="dual", params_hash="0" * 16)
    save(tmp_path / "primal", net, arch={"name": "drn", "scale": 2, "blocks": 1, "width": 8})
    save(tmp_path / "duals", duals, arch={"name": "drn_duals", "scale": 2, "width": 8})
    loaded, _, card = reopen(tmp_path / "primal", tmp_path / "duals", CPU)
    assert isinstance(loaded, DRN) and same(loaded, net) and card.multiple_of == 1
    with pytest.raises(FoundryError, match="must hold a dual network .*drn_duals.*, got drn"):
        reopen(tmp_path / "primal", tmp_path / "primal", CPU)
