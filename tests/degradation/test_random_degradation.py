"""Random degradations: the same draws give the same images, all on one grid, with the operator that made them."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation import operator
from srfoundry.degradation.damage import add_noise, compress, sharpen
from srfoundry.degradation.random_degradation import degraded, draw_blurs
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.degradation.settings import BlurRanges, DamageRanges, Model
from srfoundry.imaging import resize
from tests.closed import ranges

MODELS: list[Model] = ["bicubic", "blind", "photographs"]


def smooth(count: int, size: int) -> torch.Tensor:
    coarse = 0.2 + 0.6 * torch.rand(count, 3, size // 8, size // 8, generator=generator(1, "coarse"))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_draws_alone_decide(model: Model, scale: int) -> None:
    high = smooth(6, 48)
    first, again = (degraded(high, scale, ranges(model), rng=generator(1, "draw")) for _ in range(2))
    assert first.low.shape == (6, 3, 48 // scale, 48 // scale)
    assert torch.equal(first.low, again.low)
    torch.testing.assert_close(first.low * 255, (first.low * 255).round(), atol=1e-4, rtol=0)
    other = degraded(high, scale, ranges(model), rng=generator(2, "draw"))
    assert torch.equal(first.low, other.low) == (model == "bicubic")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_operator_made_the_images_on_the_grid_of_bicubic(model: Model, scale: int) -> None:
    """Without noise and JPEG the image is the operator's; and a ramp keeps its place under every degradation."""
    quiet = ranges(model, noisy=0.0, packed=0.0, sharpened=0.0)
    high = smooth(8, 96)
    found = degraded(high, scale, quiet, rng=generator(1, "draw"))
    once = ranges(model, noisy=0.0, packed=0.0, sharpened=0.0, once=1.0)
    alone = degraded(high, scale, once, rng=generator(1, "draw"))
    assert bool(alone.known.all())
    torch.testing.assert_close(alone.operator(high), alone.low, atol=0.5 / 255 + 1e-5, rtol=0)
    torch.testing.assert_close(operator.degrade(high, alone.kernels, scale), alone.operator(high), atol=1e-5, rtol=0)
    ramp = torch.linspace(0.1, 0.9, 96).expand(8, 3, 96, 96)
    for image in (ramp, ramp.mT):
        inside = (slice(None), slice(None), *[slice(24 // scale, -24 // scale)] * 2)
        torch.testing.assert_close(
            found.operator(image)[inside], resize.cubic(image, 1 / scale)[inside], atol=2e-3, rtol=0
        )


def test_the_operator_is_linear_and_differentiable() -> None:
    high, other = smooth(6, 48), torch.rand(6, 3, 48, 48, generator=generator(3, "other"))
    found = degraded(high, 2, ranges("photographs"), rng=generator(1, "draw"))
    apply = found.operator
    torch.testing.assert_close(apply(2 * high - other), 2 * apply(high) - apply(other), atol=1e-5, rtol=0)
    image = high.clone().requires_grad_()
    apply(image).square().sum().backward()
    assert image.grad is not None and bool((image.grad.abs().amax((1, 2, 3)) > 0).all())


def test_a_share_is_clean_at_any_place_of_the_batch() -> None:
    high, places = smooth(8, 32), set()
    for seed in range(8):
        found = degraded(high, 2, ranges("blind", motion=0.0), rng=generator(seed, "draw"))
        clean = (found.kernels - sized(antialiasing("bicubic", 2), found.kernels.shape[-1])).abs().amax((1, 2)) < 1e-6
        assert int(clean.sum()) == 2, "a quarter of eight"
        places |= set(clean.nonzero().flatten().tolist())
        reduced = resize.cubic(high[clean], 1 / 2)
        torch.testing.assert_close(found.low[clean], reduced, atol=0.5 / 255 + 1e-5, rtol=0)
    assert len(places) > 4


def test_blurs_have_the_range_of_their_variances() -> None:
    chosen = BlurRanges(variances=(0.5, 2.0), motion=0.0)
    blurs = draw_blurs(200, 2, chosen, rng=generator(1, "blurs")).double()
    size = blurs.shape[-1]
    assert size == chosen.size(2)
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2 - 0.5
    rows, columns = blurs.sum(2), blurs.sum(1)
    torch.testing.assert_close(rows.sum(1), torch.ones(200, dtype=torch.float64))
    assert float((rows @ axis).abs().max()) < 0.05, "centred for the grid"
    spread = rows @ axis**2
    assert 0.9 < float(spread.min()) < 1.3 and 3.2 < float(spread.max()) < 4.1
    even = (spread - columns @ axis**2).abs() < 1e-3
    assert 60 < int(even.sum()) < 140, "half of them are isotropic"


def test_damage_meets_its_shares() -> None:
    chosen = DamageRanges(noisy=0.5, noise=0.1, grey=0.5, poisson=0.0, packed=0.5, jpeg=(30, 40))
    grey = torch.full((400, 3, 16, 16), 0.5)
    left = add_noise(grey, chosen, rng=generator(1, "noise")) - grey
    deviation = left.flatten(1).std(dim=1)
    noisy = deviation > 0
    assert 160 < int(noisy.sum()) < 240 and float(deviation.max()) < 0.12
    same = (left[noisy] - left[noisy].mean(dim=1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert 0.35 < float(same.float().mean()) < 0.65
    detailed = torch.rand(100, 3, 16, 16, generator=generator(2, "detail"))
    changed = (compress(detailed, chosen, rng=generator(1, "jpeg")) - detailed).abs().amax((1, 2, 3)) > 1 / 255
    assert 30 < int(changed.sum()) < 70
    sharper = sharpen(detailed, 0.5, rng=generator(1, "sharp")).flatten(1).std(dim=1) > detailed.flatten(1).std(dim=1)
    assert 30 < int(sharper.sum()) < 70
