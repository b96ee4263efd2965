"""When to stop without ground truth: what the variance shows, and pixels that are held out."""

import pytest
import torch

from srfoundry.blind.dkp import stop
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.blind.settings import Rule, Stopping
from srfoundry.core.seeds import generator
from tests.blind_cases import kernel, low, run_dkp


def test_variance_stops_where_the_image_settles() -> None:
    """An image that settles until step 12 and then follows noise: the iterate kept is from about there."""
    monitor = stop.Monitor(Stopping(stop="variance", patience=6), window=4)
    rng, tap = generator(1, "watch"), torch.ones(1, 1, 1)
    for step in range(40):
        wobble = 0.5 ** min(step, 12) + 0.02 * max(0, step - 12)
        image = torch.full((1, 3, 8, 8), 0.5) + wobble * torch.randn(1, 3, 8, 8, generator=rng)
        done, _ = monitor.record(step, tap, image, torch.zeros(()))
        if done:
            break
    assert 9 <= monitor.at <= 16 and step == monitor.at + 6  # pyright: ignore[reportPossiblyUnboundVariable]
    assert monitor.kept is not None


def test_held_out_pixels_are_held_out() -> None:
    image = low(kernel(2.0, 2.0, 0.0))[..., :40, :40]
    seen = stop.held_out_mask(image, "held_out", generator(1, "mask"))
    assert seen is not None and 0.01 < float((1 - seen).mean()) < 0.12
    assert stop.held_out_mask(image, "none", generator(1, "mask")) is None
    # What is there does not matter to the loss, and matters to the figure.
    other = torch.where(seen.bool(), image, 1 - image)
    made = 0.9 * image
    assert float(ssim_loss(made * seen, image * seen)) == float(ssim_loss(made * seen, other * seen))
    assert float(stop.held_out_error(made, image, seen)) < 0.5 * float(stop.held_out_error(made, other, seen))
    speck = stop.held_out_mask(torch.zeros(1, 3, 2, 2), "held_out", generator(1, "speck"))
    assert speck is not None and float((1 - speck).sum()) >= 1


@pytest.mark.parametrize("rule", ["variance", "held_out"])
def test_stopping_returns_the_iterate_that_was_kept(rule: Rule) -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    found = run_dkp(image, stop=rule, patience=2, iterations=12, image_steps=2, kernel_steps=1, draws=8)
    figures = [row["stop"] for row in found.history]
    known = [figure for figure in figures if figure == figure]
    best = figures.index(min(known)) + 1
    assert len(found.history) in (12, best + 2) and found.restored is not None
    short = run_dkp(image, stop=rule, patience=99, iterations=12, image_steps=2, kernel_steps=1, draws=8)
    assert min(known) >= min(row["stop"] for row in short.history if row["stop"] == row["stop"])
