"""The linear enlargement: constants stay, slopes are not shifted, a known blur is undone better than by bicubic."""

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.imaging import images, metrics, resize

WAYS: list[operator.Decimation] = ["direct", "bicubic"]


def filters(bank: torch.Tensor, scale: int, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Those of images without noise, which do not depend on the images."""
    return linear_enlargement.fitted(torch.zeros(1, 3, 8, 8), bank, scale, weights=weights).filters


def blur(count: int = 1, scale: int = 2) -> torch.Tensor:
    return kernels.draw_gaussian(count, size=2 * scale + 11, scale=scale, rng=generator(1, "blur"))[0]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("way", WAYS)
def test_constants_stay_and_slopes_have_no_shift(scale: int, way: operator.Decimation) -> None:
    """Half a pixel of a wrong phase would move a slope of 1 / (24 s) a pixel by more than what is allowed."""
    kernel, rim = blur(scale=scale), 8 * scale
    flat = torch.full((1, 3, 16 * scale, 16 * scale), 0.3)
    slope = torch.linspace(0, 1, 24 * scale).expand(1, 3, 24 * scale, -1)
    for image, border in ((slope, rim), (slope.mT, rim), (flat, 0)):
        low = operator.degrade(image.contiguous(), kernel, scale, decimation=way)
        high = linear_enlargement.enlarge(low, kernel, scale, how="linear", decimation=way)
        assert high.shape == image.shape
        extent = image.shape[-1]
        inside = (high - image)[..., border : extent - border, border : extent - border]
        assert float(inside.abs().max()) < (1e-3 if border else 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_known_blur_is_undone(way: operator.Decimation) -> None:
    photograph = next(path for path in images.bundled() if path.stem == "astronaut")
    high = images.read(photograph)[..., :192, 100:292]
    kernel = blur()
    low = operator.degrade(high, kernel, 2, decimation=way)
    gained = {
        how: metrics.psnr_y(linear_enlargement.enlarge(low, kernel, 2, how=how, decimation=way).clamp(0, 1), high, 2)
        for how in ("linear", "bicubic")
    }
    assert gained["linear"] > gained["bicubic"] + 2
    wrong = kernels.gaussian(15, *(torch.tensor([value]) for value in (5.0, 5.0, 0.0)))
    off = linear_enlargement.enlarge(low, wrong, 2, how="linear", decimation=way).clamp(0, 1)
    assert metrics.psnr_y(off, high, 2) < gained["linear"] - 0.5, "the kernel does not matter"


def test_a_kernel_for_each_image_equals_one_by_one() -> None:
    low, bank = torch.rand(4, 3, 12, 14, generator=generator(3)), blur(4)
    found = filters(bank, 2)
    together = linear_enlargement.linear(low, found)
    alone = torch.cat([linear_enlargement.linear(low[i : i + 1], found[i : i + 1]) for i in range(4)])
    assert float((together - alone).abs().max()) < 1e-5
    shared = linear_enlargement.linear(low, found[:2])
    assert float((shared[:2] - linear_enlargement.linear(low[:2], found[:1])).abs().max()) < 1e-5


def test_no_kernel_means_matlabs_bicubic() -> None:
    low = torch.rand(1, 3, 16, 16, generator=generator(3))
    assert linear_enlargement.enlarge(low, None, 3, how="linear").shape == (1, 3, 48, 48)
    spike = torch.zeros(1, 3, 3)
    spike[:, 1, 1] = 1
    same = linear_enlargement.enlarge(low, spike, 3, how="linear", decimation="bicubic")
    assert float((same - linear_enlargement.enlarge(low, None, 3, how="linear")).abs().max()) < 1e-4


def test_what_is_no_kernel_is_said() -> None:
    with pytest.raises(FoundryError, match="sum to 1"):
        filters(torch.ones(1, 3, 3), 2)


def photograph(name: str) -> torch.Tensor:
    path = next(path for path in images.bundled() if path.stem == name)
    return images.read(path)[..., 64:256, 100:292]


def noisy(high: torch.Tensor, kernel: torch.Tensor, level: float, *, grey: bool = False) -> torch.Tensor:
    low = operator.degrade(high, kernel, 2)
    drawn = torch.randn(low.shape, generator=generator(5, "noise"))
    return low + level / 255 * (drawn[:, :1] if grey else drawn)


@pytest.mark.parametrize("level", [2, 5, 15])
@pytest.mark.parametrize("grey", [False, True])
def test_known_noise_is_not_amplified(level: float, grey: bool) -> None:
    """Better than without its knowledge, than with half and twice of it, and than bicubic on the same grid."""
    high, kernel = photograph("coffee"), blur()
    high = high.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if grey else high
    low = noisy(high, kernel, level, grey=grey)
    found = {
        assumed: metrics.psnr_y(
            linear_enlargement.enlarge(low, kernel, 2, how="linear", noise=assumed * level / 255).clamp(0, 1), high, 2
        )
        for assumed in (0.0, 0.25, 1.0, 4.0)
    }
    plain = metrics.psnr_y(resize.cubic_at(low, 2, 0.0).clamp(0, 1), high, 2)
    assert max(found, key=found.__getitem__) == 1.0, found
    assert found[1.0] > plain + (1.0 if level == 2 else 0.15), (found, plain)


def test_an_image_has_its_own_filters_for_its_noise() -> None:
    kernels_ = blur(2)
    lows = torch.cat([noisy(photograph(name), kernels_[:1], 5) for name in ("coffee", "rocket")])
    shared = linear_enlargement.enlarge(lows, kernels_[:1], 2, how="linear", noise=5 / 255)
    each = linear_enlargement.enlarge(lows, kernels_, 2, how="linear", noise=5 / 255)
    for index, low in enumerate(lows.unsqueeze(1)):
        alone = linear_enlargement.enlarge(low, kernels_[:1], 2, how="linear", noise=5 / 255)
        assert float((shared[index] - alone).abs().max()) < 1e-5
        own = linear_enlargement.enlarge(low, kernels_[index : index + 1], 2, how="linear", noise=5 / 255)
        assert float((each[index] - own).abs().max()) < 1e-5
    whole = linear_enlargement.fitted(lows[:1], kernels_[:1], 2, noise=5 / 255)
    part = whole(lows[:1, :, :40])[..., :40, :]
    assert float((part - shared[:1, :, :40]).abs().max()) < 1e-5, "a tile is not enlarged as the whole"


def test_filters_of_an_uncertain_kernel_are_best_on_average() -> None:
    """Over two blurs as likely as each other, no single one's filters have as little error."""
    high, widths = photograph("coffee"), torch.tensor([1.0, 5.0])
    bank = kernels.gaussian(15, widths, widths, torch.zeros(2)).float()
    lows = [images.from_uint8(images.to_uint8(operator.degrade(high, one[None], 2))) for one in bank]

    def error(found: torch.Tensor) -> float:
        return sum(float((linear_enlargement.linear(low, found) - high).square().mean()) for low in lows)

    between = filters(bank, 2, weights=torch.tensor([[1.0, 1.0]]))
    assert error(between) < 0.95 * min(error(filters(one[None], 2)) for one in bank)
    single = filters(bank, 2)
    for weights, wanted in (([3.0, 0.0], single[:1]), ([0.0, 1.0], single[1:])):
        assert filters(bank, 2, weights=torch.tensor([weights])).allclose(wanted, atol=1e-6)
    same = filters(bank[:1].expand(3, -1, -1), 2, weights=torch.rand(2, 3, generator=generator(1)))
    assert same.allclose(single[:1].expand(2, -1, -1, -1), atol=1e-5)


@pytest.mark.parametrize("weights", [[[0.0, 0.0]], [[1.0, -1.0]]])
def test_weights_that_are_none_are_said(weights: list[list[float]]) -> None:
    with pytest.raises(FoundryError, match="weights must be"):
        filters(blur(2), 2, weights=torch.tensor(weights))
