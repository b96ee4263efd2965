"""The deep image prior: it explains a small image, stops by looks, reports its progress, refuses what is too large."""

import dataclasses

import pytest
import torch
from torch import Tensor

from srfoundry.blind import dip
from srfoundry.blind.dkp.stop import Monitor
from srfoundry.blind.settings import Estimation, Rule
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.metrics import psnr_y
from tests.blind_cases import power_law, tiny

BLUR = gaussian(9, *(torch.tensor([value]) for value in (1.5, 0.8, 0.4))).float()
HIGH = power_law(40, 1).clamp(0, 1)
LOW = degrade(HIGH, BLUR, 2)


def run(steps: int, settings: Estimation | None = None, **changes: object) -> tuple[Tensor, list[tuple[int, int]]]:
    ticks: list[tuple[int, int]] = []
    image = dip.restore_by_dip(
        Observation(LOW, BLUR, Sampling(2)),
        settings or tiny(**changes),
        steps=steps,
        rng=generator(1, "dip"),
        progress=lambda done, total: ticks.append((done, total)),
    )
    return image, ticks


def test_explains_a_small_image() -> None:
    (short, _), (long, ticks) = run(20), run(110)
    assert long.shape == HIGH.shape and 0 <= float(long.min()) and float(long.max()) <= 1
    errors = [float((degrade(image, BLUR, 2) - LOW).square().mean()) for image in (short, long)]
    assert errors[1] < 0.5 * errors[0] and psnr_y(long, HIGH, 2) > psnr_y(short, HIGH, 2)
    assert ticks == [(20, 110), (40, 110), (60, 110), (80, 110), (100, 110), (110, 110)]
    assert not long.requires_grad and torch.equal(run(20)[0], short)


@pytest.mark.parametrize(("rule", "looks"), [("held_out", 4), ("variance", 8)])
def test_patience_counts_looks(monkeypatch: pytest.MonkeyPatch, rule: Rule, looks: int) -> None:
    """A network that stands still gets no better after the first figure, which for the variance is the fifth look's."""
    monkeypatch.setattr(dip, "LOOK", 2)
    settings = tiny(stop=rule, patience=3)
    still = dataclasses.replace(settings, image=dataclasses.replace(settings.image, image_rate=0.0))
    _, ticks = run(60, still)
    assert ticks == [*((2 * look, 60) for look in range(1, looks)), (60, 60)]


@pytest.mark.parametrize("rule", ["held_out", "variance"])
def test_stopping_keeps_the_best_look(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    monkeypatch.setattr(dip, "LOOK", 5)
    figures: list[float] = []
    record = Monitor.record

    def recording(self: Monitor, step: int, kernel: Tensor, image: Tensor, error: Tensor) -> tuple[bool, float]:
        done, figure = record(self, step, kernel, image, error)
        figures.append(figure)
        kept.append(None if self.kept is None else self.kept[1])
        return done, figure

    kept: list[Tensor | None] = []
    monkeypatch.setattr(Monitor, "record", recording)
    image, ticks = run(60, stop=rule, patience=3)
    assert ticks[-1] == (60, 60) and kept[-1] is not None and torch.equal(image, kept[-1])
    known = [figure for figure in figures if figure == figure]
    assert len(known) > 1 and image.shape == HIGH.shape


def test_refuses_what_would_fill_the_memory() -> None:
    with pytest.raises(FoundryError, match="got 257x256 to enlarge by 2; crop the image, or choose another --model"):
        large = Observation(torch.zeros(1, 3, 257, 256), BLUR, Sampling(2))
        dip.restore_by_dip(large, tiny(), steps=1, rng=torch.Generator())
    assert dip.LARGEST == (2 * 256) ** 2
