"""What is in doubt is restored by the mean over what may have made it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.blind import guard
from srfoundry.blind.decision import Candidates, Decision
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement, sharpening
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import Decimation
from srfoundry.imaging import images, resize
from srfoundry.imaging.user_image import Photograph
from srfoundry.restoration.averaged import _averaged, _phase
from srfoundry.restoration.blind_restoration import Restoration, _enlarged, _milder, _restored, restore_photograph
from srfoundry.restoration.restorers.restorer import Restored, RestoreOptions, Ticker, no_ticker


def test_the_mean_over_candidates_is_milder_than_the_strongest() -> None:
    low = torch.rand(1, 3, 20, 24, generator=generator(1, "low"))
    two = torch.tensor([0.4, 3.0])
    both = kernels.gaussian(15, two, two, torch.zeros(2))
    seen = Observation(low, both[1:], Sampling(2))
    decision = Decision(restore=True, seen="blur", chance=1.0, phase=0.0, noise=0.01)

    def image(*chances: float) -> torch.Tensor:
        return _averaged(seen, Candidates(both, torch.tensor(chances)), decision).image

    sure = linear_enlargement.fitted(low, both[1:], 2, noise=0.01)(low)
    assert torch.allclose(image(0.0, 1.0), sure.clamp(0, 1), atol=1e-5)
    slopes = [float(image(*each).diff(dim=-1).abs().mean()) for each in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))]
    assert slopes[0] < slopes[1] < slopes[2]
    packed = _averaged(seen, Candidates(both[1:], torch.ones(1), plain=0.5), decision).image
    assert torch.allclose(packed, (sure + resize.cubic_at(low, 2, 0.0)).div(2).clamp(0, 1), atol=1e-5)


def test_the_cubic_part_lies_where_the_candidates_have_their_centre() -> None:
    kernel = kernels.gaussian(15, torch.ones(1), torch.ones(1), torch.zeros(1)).float()
    moved = kernels.centred(kernel, 0.5)
    both = Candidates(torch.cat([kernel, moved]), torch.tensor([3.0, 1.0]))
    assert _phase(Candidates(kernel, torch.ones(1))) == pytest.approx(0, abs=1e-4)
    assert _phase(both) == pytest.approx(0.125, abs=0.01)


def test_of_a_jpeg_file_it_is_half_cubic_interpolation_on_the_same_grid() -> None:
    low = torch.rand(1, 3, 12, 16, generator=generator(2, "packed"))
    for phase in (0.0, 0.375, 0.5):
        found = _milder(lambda each: torch.zeros(1, 3, 24, 32), low, scale=2, phase=phase)
        assert torch.allclose(found, resize.cubic_at(low, 2, phase) / 2)


class Bright:
    """A restorer whose images are white."""

    scale, uses_noise = 2, False

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        return Restored(torch.ones(1, 3, *(2 * extent for extent in observation.low.shape[-2:])), "white")


def test_the_mean_is_mixed_with_the_restorer_by_its_weight() -> None:
    low = torch.zeros(1, 3, 16, 16)
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    shared = Restoration(RestoreOptions(Path("m"), Path("p")), Bright(), Sampling(2), None, None)

    def level(weight: float | None) -> float:
        candidates = None if weight is None else Candidates(kernel, torch.ones(1), weight)
        decision = Decision(restore=True, seen="blur", chance=1.0, phase=0.0, candidates=candidates)
        return float(_restored(Observation(low, kernel, Sampling(2)), decision, "a", shared, no_ticker).image.mean())

    assert [level(each) for each in (None, 0.25, 1.0)] == pytest.approx([1.0, 0.75, 0.0], abs=1e-3)


def photograph() -> np.ndarray:
    path = next(path for path in images.bundled() if path.stem == "coffee")
    return images.to_uint8(images.read(path))[0].numpy()[40:140, 60:190]


class Once:
    """A restorer that enlarges, and keeps what it was given."""

    scale, uses_noise = 2, False

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        self.seen.append(observation.low)
        return Restored(resize.cubic_at(observation.low, 2, 0.0).clamp(0, 1), "cubic")


def test_bars_are_no_part_of_what_is_restored() -> None:
    bars = np.pad(photograph(), ((12, 9), (0, 0), (0, 0)))
    restorer, kernel = Once(), kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    shared = Restoration(RestoreOptions(Path("m"), Path("p"), force=True), restorer, Sampling(2), kernel, None)
    made = restore_photograph(Photograph(bars, None, False, {}), "a", shared)
    assert made.pixels.shape == (242, 260, 3)
    assert 98 <= restorer.seen[0].shape[-2] <= 100
    for dark in (made.pixels[:20], made.pixels[-14:]):
        assert dark.max() <= 8
    inside = restore_photograph(Photograph(photograph(), None, False, {}), "a", shared).pixels
    apart = np.abs(made.pixels[40:-40].astype(int) - inside[16:-22].astype(int))
    assert apart.max() <= 1


@pytest.mark.parametrize(("decimation", "phase"), [("direct", 0.0), ("bicubic", 0.5)])
def test_bars_lie_on_the_grid_of_what_is_restored(decimation: Decimation, phase: float) -> None:
    bars = np.pad(photograph(), ((12, 9), (0, 0), (0, 0)))
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    options = RestoreOptions(Path("m"), Path("p"), force=True, decimation=decimation)
    shared = Restoration(options, Once(), Sampling(2, decimation), kernel, None)
    made = restore_photograph(Photograph(bars, None, False, {}), "a", shared).pixels
    low = images.from_uint8(torch.from_numpy(bars)[None])
    assert np.array_equal(made[:20], images.to_uint8(resize.cubic_at(low, 2, phase).clamp(0, 1))[0].numpy()[:20])


def test_a_mask_is_taken_back_before_the_image_is_enlarged() -> None:
    high = photograph()
    thumbnail = images.from_uint8(torch.from_numpy(high)[None])
    masked = sharpening.unsharp(thumbnail[0], torch.full((3,), 0.85), torch.full((3,), 0.8))[None]
    masked = images.to_uint8(masked)[0].numpy()
    shared = Restoration(RestoreOptions(Path("m"), Path("p")), Bright(), Sampling(2), None, None)
    place = torch.nn.functional.one_hot(torch.tensor(5), sharpening.PLACES).double()

    def enlarged(pixels: np.ndarray, masks: torch.Tensor | None) -> np.ndarray:
        decision = Decision(restore=False, seen="a reduced image", chance=1.0, phase=0.5, masks=masks)
        original = Photograph(pixels, None, False, {})
        return _enlarged(original, shared, guard.Doubt("sharp", 0.5), decision).pixels.astype(float)

    wanted = enlarged(high, None)
    errors = [np.square(enlarged(masked, masks) - wanted).mean() for masks in (None, place)]
    assert errors[1] < 0.1 * errors[0]


class Waves:
    """A restorer whose images ring."""

    scale, uses_noise = 2, False

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        column = torch.arange(2.0 * observation.low.shape[-1])
        return Restored((0.5 + 0.4 * column.sin()).expand(1, 3, 2 * observation.low.shape[-2], -1), "waves")


def test_what_rings_makes_way_for_the_mean_over_what_the_spectrum_does_not_rule_out() -> None:
    low = (torch.arange(32.0) / 32).expand(1, 3, 24, -1)
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    shared = Restoration(RestoreOptions(Path("m"), Path("p")), Waves(), Sampling(2), None, None)

    def found(instead: Candidates | None) -> Restored:
        decision = Decision(restore=True, seen="blur", chance=1.0, phase=0.0, instead=instead)
        return _restored(Observation(low, kernel, Sampling(2)), decision, "a", shared, no_ticker)

    milder = found(Candidates(kernel, torch.ones(1)))
    assert "since it rings" in milder.how and (milder.image.diff(dim=-1)[..., 8:-8] > 0).all()
    assert found(None).how == "waves"  # nothing milder is known


@pytest.mark.parametrize(
    ("force", "weight", "kept"),
    [(False, None, False), (True, None, True), (False, 0.5, False), (False, 1.0, True)],
    ids=["alone", "forced", "with a mean", "the mean alone"],
)
def test_what_its_kernel_does_not_explain_is_not_given_out(
    force: bool, weight: float | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mean over kernels is explained by none of them, and stays; what a restorer has a part in is judged by that."""
    pixels = photograph()
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    seen = Observation(images.from_uint8(torch.from_numpy(pixels)[None]), kernel, Sampling(2))
    mean = None if weight is None else Candidates(kernel.float(), torch.ones(1), weight=weight)
    decision = Decision(restore=True, seen="blur", chance=1.0, phase=0.0, candidates=mean)
    monkeypatch.setattr(Restoration, "observe", lambda *_: (seen, decision))
    shared = Restoration(RestoreOptions(Path("m"), Path("p"), force=force), Bright(), Sampling(2), kernel, None)
    made = restore_photograph(Photograph(pixels, None, False, {}), "a", shared)
    assert (made.explained is not None) == kept
    assert made.doubt is None or "no blurred photograph" in made.doubt.why


def test_noise_needs_no_explanation() -> None:
    error = -20 * math.log10(math.hypot(5, 20) / 255)
    assert guard.unexplained(error, noise=5 / 255) is not None
    assert guard.unexplained(error, noise=20 / 255) is None
