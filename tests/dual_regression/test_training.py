"""Dual training: it lowers the loss, resumes to the same bytes, and is plain training without a dual term."""

from functools import partial
from pathlib import Path

import pytest
import torch

from srfoundry.core.compute import Compute
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batches, draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import reopen, train, validate
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo import cards
from srfoundry.training.schedules import cosine
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs

DRAWS = PatchDraw(patch=16, octave=0.5, batch=2)


def run(patches: Patches, folder: Path, *, steps: int = 4, rate: float = 1e-3, stop: int | None = None) -> DRN:
    net, duals = nets()
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))

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


def test_weight_zero_is_plain_training_to_the_bit(tmp_path: Path) -> None:
    """The same net from a loop that knows nothing of dual nets, of this module or of the averaging."""
    patches = photographs(tmp_path / "set")
    trained, _ = nets()
    _, duals = nets()
    loss = loss_of(duals, scale=2, weights=loss_weights(0.0), compute=Compute(CPU))
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


def test_training_lowers_the_loss_and_validates(tmp_path: Path) -> None:
    patches = photographs(tmp_path / "set")
    before, duals = nets()
    after = run(patches, tmp_path, steps=30, rate=3e-3)
    loss = loss_of(duals, scale=2, weights=loss_weights(0.0), compute=Compute(CPU))
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
