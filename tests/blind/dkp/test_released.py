"""The authors' program: its draws, its weights, its update counts, and the first step of its stored runs."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from srfoundry.blind.dkp import released_kernels
from srfoundry.blind.dkp.released import Program, run_released_program
from srfoundry.blind.dkp.released_kernels import released_weights
from srfoundry.blind.estimate import Estimate
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.conventions import centre_of_mass
from srfoundry.degradation.kernels import gaussian
from srfoundry.imaging.metrics import kernel_psnr, psnr_y
from tests.blind_cases import observed, power_law
from tests.conftest import golden


def run(outer: int, *, frozen: bool = True, **changes: Any) -> Estimate:
    program = Program(outer=outer, warm_up=5, **changes)
    low, image = power_law(20, 1).clamp(0, 1), power_law(40, 2).clamp(0, 1)
    return run_released_program(observed(low, border="circular"), program, frozen=image if frozen else None)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_random_kernels_are_where_the_test_kernels_are(scale: int) -> None:
    size = released_kernels.size_of(scale)
    for first, second, angle in ((0.8, 3.5, 0.4), (2.0, 2.0, 0.0), (4.0, 1.2, 2.5)):
        kernel = released_kernels.moved_gaussian(scale, first, second, angle)[None]
        values = (torch.tensor([value], dtype=torch.float64) for value in (first, second, angle))
        direct = gaussian(size, *values, offset=-(scale - 1) / 2)
        assert kernel_psnr(kernel, direct) > 75
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
        assert float((centre_of_mass(kernel) - (size - scale) / 2).abs().max()) < 0.06


def test_ranges_and_centres_are_the_programs() -> None:
    assert [released_kernels.size_of(scale) for scale in (2, 3, 4, 8)] == [11, 15, 19, 21]
    assert [released_kernels.centre_of(scale) for scale in (2, 3, 4, 8)] == [4.5, 6.0, 7.5, 13.5]  # 6.5 would be right
    assert released_kernels.centre_of(8, "mzsr") == 10
    housed = released_kernels.random_kernel(3, np.random.RandomState(1), "mzsr")[None]
    assert float((centre_of_mass(housed) - 7).abs().max()) < 0.3
    for scale, range_ in ((2, (1.35, 13)), (4, (3.7, 20))):
        assert released_kernels.variances_of(scale) == pytest.approx(range_)


def test_wide_kernels_lose_their_rim() -> None:
    kernel = released_kernels.moved_gaussian(2, 20.0, 20.0, 0.0)
    assert float(kernel[0, 0]) > 1e-4 and float(kernel[-1].abs().max()) < 1e-12  # zeros came in


def test_kernel_steps_come_once_twice_twice() -> None:
    history = run(6).history
    counts = np.diff([5.0, *(row["kernel_updates"] for row in history)])
    assert counts.tolist() == [2, 3, 3, 2, 3, 3]  # one of them the prior's
    assert history[-1]["image_updates"] == 0
    whole = 200 + 200 + sum(1 if outer % 3 == 0 else 2 for outer in range(200))
    assert whole == 733


def test_a_second_run_is_the_same_and_nothing_global_is_touched() -> None:
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # pyright: ignore
    first, other = run(2, frozen=False), run(2, frozen=False)
    assert torch.equal(first.kernel, other.kernel) and first.restored is not None and other.restored is not None
    assert torch.equal(first.restored, other.restored) and first.restored.shape == (1, 3, 40, 40)
    assert torch.equal(torch.get_rng_state(), before) and (np.random.get_state()[1] == numbers).all()  # pyright: ignore
    assert not torch.equal(run(2).kernel, released_with_stream().kernel)


def released_with_stream() -> Estimate:
    """The same, after another image has used the stream up."""
    low, image = power_law(20, 1).clamp(0, 1), power_law(40, 2).clamp(0, 1)
    stream = np.random.RandomState(0)
    stream.rand(100)
    program = Program(outer=2, warm_up=5)
    return run_released_program(observed(low, border="circular"), program, frozen=image, stream=stream)


def test_ssim_gives_way_to_mse() -> None:
    history = run(4, switch=1).history
    assert history[1]["data"] > 10 * history[2]["data"]


@pytest.mark.parametrize("scale", [2, 4])
def test_first_step_is_that_of_the_stored_run(scale: int) -> None:
    """Seeds, orders of draws, warm-up, sampled step and networks: all of them to 5 digits, or this fails."""
    stored = np.load(golden(f"golden/blind/released_butterfly_c128_x{scale}.npz"), allow_pickle=False)
    low, high = (torch.from_numpy(stored[name]).permute(2, 0, 1)[None].float() / 255 for name in ("lr_u8", "hr_u8"))
    found = run_released_program(observed(low, scale, "circular"), Program(outer=1, image_steps=1))
    log = json.loads(str(stored["log"]))[0]
    assert found.restored is not None
    assert kernel_psnr(found.kernel, torch.from_numpy(stored["kernel_gt"])[None]) == pytest.approx(
        log["kpsnr"], abs=1e-3
    )
    assert psnr_y(found.restored, high, scale) == pytest.approx(log["psnr"], abs=2e-3)
    assert found.history[0]["image"] == pytest.approx(log["loss"], abs=1e-4)


def test_a_window_is_a_photograph_of_its_own() -> None:
    """The busiest part of a larger image gives what it gives alone; its far ends are no neighbours."""
    low = torch.full((1, 3, 40, 44), 0.5)
    low[..., 8:32, 12:36] = power_law(24, 1).clamp(0, 1)
    program = Program(outer=1, warm_up=5, window=24)
    found = run_released_program(observed(low, border="circular"), program)
    assert found.box == (8, 12, 24, 24) and found.restored is not None and found.restored.shape == (1, 3, 48, 48)
    alone = run_released_program(observed(low[..., 8:32, 12:36]), program)
    assert torch.equal(found.kernel, alone.kernel) and alone.box == (0, 0, 24, 24)
    image = power_law(88, 2)[..., :80, :].clamp(0, 1)  # cut along, where it is given
    frozen, cut = (
        run_released_program(observed(one), program, frozen=two).kernel
        for one, two in ((low, image), (low[..., 8:32, 12:36], image[..., 16:64, 24:72]))
    )
    assert torch.equal(frozen, cut)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="16x16 at scale 2 is too small for the released network; give 17 pixels"):
        run_released_program(observed(torch.rand(1, 3, 16, 16)), Program())
    assert math.isfinite(run(1).history[0]["data"])


def test_released_weights_are_the_published_programs() -> None:
    weights = released_weights(torch.tensor([0.00171, 0.00541, 0.00248, 0.00338, 0.00296], dtype=torch.float64))
    expected = torch.tensor([6.9078, 0.1728, 1.8088, 0.8899, 1.2241], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-3)
