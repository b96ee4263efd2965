"""What a network's own estimate is compared with: the kernel and the noise that the batch knows of."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.reductions import antialiasing
from srfoundry.degradation.settings import Model
from srfoundry.dual_regression.batch import Batch, DegradedBatch
from srfoundry.dual_regression.batches import pairs
from srfoundry.dual_regression.estimation import NOISE_WEIGHT, estimate_terms, fitted, noise_of
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.unpaired import windows, with_unpaired
from srfoundry.networks.sr.conditioned import Conditioned
from srfoundry.networks.sr.duals import StraightDual
from srfoundry.networks.sr.network import DegradationEstimate
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, loss_weights, photographs, ranges

DRAWS = PatchDraw(patch=32, octave=0.0, batch=4)


def drawn(tmp_path: Path, model: Model, **values: float) -> Batch:
    return pairs(photographs(tmp_path), DRAWS, ranges(model, **values), scale=2, rng=generator(1, "pairs"))


def believing(kernels: Tensor, noise: Tensor) -> DegradationEstimate:
    logits = kernels.clamp_min(1e-12).log().flatten(1)[:, :, None, None]
    return DegradationEstimate(torch.zeros(len(kernels), 1, 1, 1), logits.requires_grad_(), noise.view(-1, 1, 1, 1))


def test_the_truth_costs_nothing_and_another_kernel_does(tmp_path: Path) -> None:
    batch = drawn(tmp_path, "blind")
    assert isinstance(batch, DegradedBatch)
    kernels, noise = fitted(batch.kernels, 17), noise_of(batch, 2)
    terms = estimate_terms(believing(kernels, noise), batch, 2)
    assert float(terms["kernel"].detach()) == pytest.approx(0, abs=1e-5) and float(terms["noise"]) == 0
    wrong = estimate_terms(believing(kernels.flip(0), noise + 0.01), batch, 2)
    truth, said = kernels.flatten(1), kernels.flip(0).flatten(1).clamp_min(1e-12)
    by_hand = (torch.xlogy(truth, truth) - truth * said.log()).sum(dim=1).mean()
    torch.testing.assert_close(wrong["kernel"].detach(), by_hand, atol=1e-4, rtol=1e-4)
    assert float(wrong["noise"]) == pytest.approx(0.01, rel=1e-3)


def test_the_noise_is_what_is_beside_the_operator(tmp_path: Path) -> None:
    clean = drawn(tmp_path, "blind", noisy=0.0, packed=0.0)
    assert isinstance(clean, DegradedBatch)
    assert float(noise_of(clean, 2).max()) < 0.5 / 255, "rounding alone"
    noisy = drawn(tmp_path / "noisy", "blind", noisy=1.0, packed=0.0, clean=0.0)
    assert isinstance(noisy, DegradedBatch)
    spread = (noisy[2] - noisy.operator(noisy[1])).std(dim=(1, 2, 3))
    torch.testing.assert_close(noise_of(noisy, 2), spread, rtol=0.1, atol=2e-3)


def test_rows_without_a_kernel_count_in_the_noise_alone(tmp_path: Path) -> None:
    batch = drawn(tmp_path, "photographs", once=0.0, clean=0.25)
    assert isinstance(batch, DegradedBatch) and 0 < int(batch.known.sum()) < len(batch.known)
    noise = noise_of(batch, 2)
    said = fitted(batch.kernels, 17)
    said[~batch.known] = said[~batch.known].flip(-1)
    assert float(estimate_terms(believing(said, noise), batch, 2)["kernel"].detach()) == pytest.approx(0, abs=1e-5)
    nothing = DegradedBatch(batch, batch.operator, batch.kernels, torch.zeros_like(batch.known))
    term = estimate_terms(believing(said, noise), nothing, 2)["kernel"]
    assert float(term.detach()) == 0
    term.backward()  # all of a net stays part of the loss, for a search of the second order


@pytest.mark.parametrize("model", ["bicubic", "blind"])
def test_a_prepared_set_is_bicubic_and_images_without_a_photograph_are_left_out(tmp_path: Path, model: Model) -> None:
    batch = drawn(tmp_path, model)
    assert isinstance(batch, DegradedBatch) == (model == "blind")
    low = windows([torch.rand(1, 3, 20, 30, generator=generator(5, "low"))], count=2, size=16, rng=generator(2, "cut"))
    more = with_unpaired(dict(batch) if model == "bicubic" else batch, low, (), 2)  # pyright: ignore[reportArgumentType]
    net = Conditioned(scale=2, blocks=1, width=4, taps=17)
    redraw(net, generator(1, "net"))
    with torch.no_grad():
        few, many = (estimate_terms(net.estimate(net.prepare(each[2])), each, 2) for each in (batch, more))
    for name in few:
        torch.testing.assert_close(few[name], many[name])


def test_kernels_of_other_sizes_are_framed_or_cut() -> None:
    kernels = torch.rand(2, 5, 5, generator=generator(1, "kernels"))
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(fitted(kernels, 5), kernels)
    wide = fitted(kernels, 9)
    assert wide.shape == (2, 9, 9) and float(wide.sum()) == pytest.approx(2)
    torch.testing.assert_close(wide[:, 2:-2, 2:-2], kernels)
    cut = kernels[:, 1:-1, 1:-1]
    torch.testing.assert_close(fitted(kernels, 3), cut / cut.sum(dim=(1, 2), keepdim=True))
    lobed = fitted(antialiasing("bicubic", 2), 17)
    assert float(lobed.min()) == 0 and float(lobed.sum()) == pytest.approx(1)


def test_the_loss_teaches_the_predictor(tmp_path: Path) -> None:
    batch = drawn(tmp_path, "blind")
    net, duals = Conditioned(scale=2, blocks=1, width=4, taps=17), StraightDual(scale=2, width=4)
    redraw(net, generator(1, "net"))
    redraw(duals, generator(1, "duals"))
    without, terms = (
        loss_of(duals, scale=2, weights=loss_weights(0.1, weight), compute=Compute(CPU))(net, batch)
        for weight in (0.0, 0.5)
    )
    more = 0.5 * (terms["kernel"] + NOISE_WEIGHT * terms["noise"])
    torch.testing.assert_close(terms["total"], without["total"] + more)
    terms["total"].backward()
    gradient = net.predictor.kernel.weight.grad
    assert gradient is not None and bool(gradient.any())


def test_a_few_steps_learn_the_kernel(tmp_path: Path) -> None:
    batch = drawn(tmp_path, "blind", noisy=0.0, packed=0.0, clean=0.0)
    net = Conditioned(scale=2, blocks=1, width=4, taps=17)
    redraw(net, generator(1, "net"))
    adam = torch.optim.Adam(net.predictor.parameters(), 3e-3)
    values = []
    for _ in range(60):
        terms = estimate_terms(net.estimate(net.prepare(batch[2])), batch, 2)
        adam.zero_grad()
        terms["kernel"].backward()
        adam.step()
        values.append(float(terms["kernel"].detach()))
    assert values[-1] < 0.3 * values[0]
