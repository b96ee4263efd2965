"""DKP: it sees the low-resolution image alone, its prior acts, and a seed fixes its bytes."""

import pytest
import torch

from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.imaging.metrics import kernel_psnr
from tests.blind_cases import kernel, low, observed, run_dkp, tiny


def test_finds_the_kernel_from_the_low_resolution_image_alone() -> None:
    true = kernel(3.5, 1.0, 0.6)
    found = run_dkp(low(true), image_steps=0)
    guess = GaussianPrior(11, 0.35, 5.0).mean().float()
    assert kernel_psnr(found.kernel, true) > kernel_psnr(guess, true) + 4
    assert float(found.kernel.min()) >= 0 and float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)
    axis = torch.arange(11.0)
    for dim in (1, 2):
        assert float((found.kernel.sum(dim=dim)[0] * axis).sum()) == pytest.approx(5, abs=0.1)


def test_a_seed_fixes_the_bytes_and_leaves_the_global_generators_alone() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    before = torch.get_rng_state()
    first, again, other = (run_dkp(image, seed, langevin=0.001, iterations=2) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.kernel, again.kernel) and first.history == again.history
    assert first.restored is not None and again.restored is not None
    assert torch.equal(first.restored, again.restored)
    assert not torch.equal(first.kernel, other.kernel)
    assert first.restored.shape == (1, 3, 48, 48)


def test_every_row_is_logged() -> None:
    logged: list[int] = []
    image = observed(low(kernel(2.0, 1.0, 0.0)))
    found = estimate_by_dkp(image, tiny(iterations=2), rng=generator(1, "log"), log=lambda step, _: logged.append(step))
    assert logged == [1, 2] and [row["step"] for row in found.history] == [1.0, 2.0]
    assert {"draws", "temperature", "image", "data", "prior"} <= set(found.history[0])


def test_the_prior_term_moves_the_kernel_although_the_data_term_is_there() -> None:
    image = low(kernel(3.5, 1.0, 0.6))
    strong, none = (run_dkp(image, prior_strength=(strength, strength)) for strength in (10.0, 1e-9))
    assert strong.history[-1]["prior"] < 0.3 * none.history[-1]["prior"]


def test_the_data_term_moves_the_kernel_too() -> None:
    image = low(kernel(3.5, 1.0, 0.6))
    assert not torch.equal(run_dkp(image, prior_strength=(1.0, 1.0)).kernel, run_dkp(image, image_steps=0).kernel)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="5x5 at scale 2"):
        run_dkp(torch.rand(1, 3, 5, 5))
