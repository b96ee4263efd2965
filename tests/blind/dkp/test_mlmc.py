"""MLMC's nested turns, its learned optimiser, and what can be swapped in either method."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from srfoundry.blind.dkp import image_network, kernel_network
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.dkp.mlmc import estimate_by_mlmc
from srfoundry.blind.estimate import NOTHING, Estimate, EstimateKernel, Resources
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.core.state import silent
from srfoundry.degradation.conventions import centre_of_mass
from srfoundry.degradation.kernels import line
from srfoundry.imaging.metrics import kernel_psnr
from tests.blind_cases import kernel, low, observed, tiny

SMALL: dict[str, Any] = {
    "iterations": 2,
    "draws": 16,
    "updates": 2,
    "rounds": 2,
    "image_steps": 2,
    "kernel_steps": 2,
}


def run(image: torch.Tensor, seed: int = 1, method: EstimateKernel = estimate_by_mlmc, **changes: Any) -> Estimate:
    settings = tiny(**{**SMALL, **changes})
    return method(observed(image), settings, NOTHING, rng=generator(seed, "mlmc"), log=silent)


def test_finds_the_kernel_from_the_low_resolution_image_alone() -> None:
    true = kernel(3.5, 1.0, 0.6)
    found = run(low(true), image_steps=0, iterations=8, updates=5, draws=24, kernel_rate=6e-3)
    guess = GaussianPrior(11, 0.35, 5.0).mean().float()
    assert kernel_psnr(found.kernel, true) > kernel_psnr(guess, true) + 4
    assert float(found.kernel.min()) >= 0 and float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_a_seed_fixes_the_bytes_and_leaves_the_global_generators_alone(learned: bool) -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    before = torch.get_rng_state()
    first, again, other = (run(image, seed, learned=learned) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.kernel, again.kernel) and first.history == again.history
    assert not torch.equal(first.kernel, other.kernel)
    assert float(first.kernel.min()) >= 0 and float(first.kernel.sum()) == pytest.approx(1, abs=1e-5)


def test_turns_are_nested_as_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """L sampled steps, then Q times P image steps and one kernel step on the P losses gathered."""
    turns: list[str] = []

    def spy(owner: type, name: str, mark: str) -> None:
        original = getattr(owner, name)

        def wrapped(self: Any, *given: Any, **named: Any) -> Any:
            turns.append(mark)
            return original(self, *given, **named)

        monkeypatch.setattr(owner, name, wrapped)

    spy(kernel_network.SampledSteps, "improve", "l")
    spy(kernel_network.GatheredSteps, "improve", "q")
    spy(image_network.LearnedImage, "improve", "p")
    run(low(kernel(2.0, 2.0, 0.0)), updates=3, rounds=2, image_steps=3)
    assert "".join(turns) == ("lll" + "pppq" * 2) * 2


def test_sampled_steps_are_not_lost_beside_the_data_term() -> None:
    """The released program's flaw: with shared moments the pull of the random kernels vanishes."""
    image = low(kernel(3.5, 1.0, 0.6))
    common: dict[str, Any] = {"iterations": 5, "updates": 6, "draws": 24, "kernel_rate": 6e-3, "image_steps": 1}
    strong, none = (run(image, prior_strength=(strength, strength), **common) for strength in (10.0, 1e-9))
    assert strong.history[-1]["prior"] < 0.3 * none.history[-1]["prior"]


def test_a_learned_optimiser_needs_an_image() -> None:
    settings = tiny(**{**SMALL, "learned": True})
    without = replace(settings, image=replace(settings.image, image_steps=0))
    with pytest.raises(FoundryError, match="image_steps 0"):
        estimate_by_mlmc(observed(low(kernel(2.0, 2.0, 0.0))), without, rng=generator(1, "mlmc"))


@pytest.mark.parametrize("method", [estimate_by_dkp, estimate_by_mlmc])
@pytest.mark.parametrize("form", ["taps", "family"])
def test_forms_are_interchangeable(method: EstimateKernel, form: str) -> None:
    true = kernel(3.5, 1.0, 0.6)
    many: dict[str, Any] = {"iterations": 8, "updates": 6, "draws": 32, "kernel_steps": 10, "image_steps": 0}
    found = run(low(true), method=method, form=form, **many)
    assert kernel_psnr(found.kernel, true) > kernel_psnr(GaussianPrior(11, 0.35, 5.0).mean().float(), true) + 3


def test_motion_is_found_with_a_motion_prior() -> None:
    true = line(11, torch.tensor([7.0]), torch.tensor([0.7]))
    image = low(true)
    motion, gauss = (
        run(
            image,
            method=estimate_by_dkp,
            family=family,
            image_steps=0,
            iterations=10,
            kernel_steps=20,
            draws=48,
            kernel_rate=3e-3,
        )
        for family in ("line", "gaussian")
    )
    assert kernel_psnr(motion.kernel, true) > kernel_psnr(gauss.kernel, true) + 2


@pytest.mark.parametrize("change", [{"family": "trajectory"}, {"sampler": "chains"}, {"likelihood": "residual"}])
@pytest.mark.parametrize("method", [estimate_by_dkp, estimate_by_mlmc])
def test_parts_can_be_swapped(method: EstimateKernel, change: dict[str, Any]) -> None:
    found = run(low(kernel(2.0, 1.0, 0.3)), method=method, **change)
    assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-5) and found.restored is not None


def test_a_bank_is_handed_over() -> None:
    true = kernel(3.5, 1.0, 0.6)
    bank = torch.cat([true, kernel(1.0, 3.5, 0.6), kernel(0.5, 0.5, 0.0), kernel(4.5, 4.5, 0.0)])
    settings = tiny(family="bank", image_steps=0, iterations=8, kernel_rate=4e-3)
    found = estimate_by_dkp(observed(low(true)), settings, Resources(bank=bank), rng=generator(1, "bank"))
    assert max(range(4), key=lambda at: kernel_psnr(found.kernel, bank[at : at + 1])) == 0
    with pytest.raises(FoundryError, match="family is bank"):
        run(low(true), family="bank")


def test_odd_sizes_and_every_scale() -> None:
    image = low(kernel(2.0, 1.0, 0.3))[..., :15, :13]
    for scale in (2, 3, 8):
        settings = tiny(**{**SMALL, "iterations": 1, "draws": 8, "image_steps": 1, "rounds": 1})
        for method in (estimate_by_dkp, estimate_by_mlmc):
            found = method(observed(image, scale), settings, NOTHING, rng=generator(1, "odd"))
            assert found.restored is not None and found.restored.shape[-1] == scale * found.box[3]
            assert float((centre_of_mass(found.kernel) - 5).abs().max()) < 0.5
