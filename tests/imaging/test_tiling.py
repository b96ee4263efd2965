"""Tiles must not show, must bound memory, and must not change a net that sees no further than their overlap."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images, tiling


def local_net(radius: int, scale: int) -> nn.Module:
    """A random net that sees `radius` pixels to each side and enlarges by `scale`."""
    rng = seeds.generator(0, "local net")
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1)]
    layers += [nn.Conv2d(8, 8, 3, padding=1) for _ in range(radius - 2)]
    layers += [nn.Conv2d(8, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)]
    net = nn.Sequential(*layers)
    for value in net.parameters():
        value.data.normal_(0, 0.2, generator=rng)
    return net.requires_grad_(False)


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=seeds.generator(1, "picture", height, width))


@pytest.mark.parametrize(("height", "width"), [(97, 61), (40, 200), (33, 33), (5, 7), (64, 64)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_equals_the_whole_image_where_the_overlap_covers_the_receptive_field(
    height: int, width: int, scale: int
) -> None:
    net, low = local_net(4, scale), picture(height, width)
    tiled = tiling.tiled(net, low, scale, tile=32, overlap=9)
    torch.testing.assert_close(tiled, net(low), atol=2e-5, rtol=0)


def test_a_smaller_overlap_would_not_do() -> None:
    net, low = local_net(8, 2), picture(64, 64)
    assert (tiling.tiled(net, low, 2, tile=32, overlap=2) - net(low)).abs().max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 31), st.sampled_from([1, 2, 3]))
def test_weights_sum_to_one_and_tiles_cover_everything(extent: int, tile: int, overlap: int, scale: int) -> None:
    if tile <= 2 * overlap:
        return
    first = tiling.starts(extent, tile, overlap)
    size = min(tile, extent)
    assert first[0] == 0 and first[-1] + size == extent and first == sorted(first)
    assert all(b - a <= tile - 2 * overlap for a, b in zip(first[:-1], first[1:], strict=True))
    total = torch.zeros(extent * scale)
    for start, weight in zip(first, tiling.weights(first, size, overlap, scale), strict=True):
        assert float(weight.min()) >= -1e-7
        total[start * scale : (start + size) * scale] += weight
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)


def test_disagreeing_tiles_leave_no_seam() -> None:
    """A net with global means gives every tile another brightness: neighbours may differ, pixels must not jump."""

    def by_mean(low: Tensor) -> Tensor:
        return low.mean().expand(1, 3, low.shape[-2] * 2, low.shape[-1] * 2)

    ramp = torch.linspace(0, 1, 256).expand(1, 3, 64, 256)
    joined = tiling.tiled(by_mean, ramp, 2, tile=64, overlap=16)
    jump_between_tiles = 2 * 0.125  # what hard cuts would show: two tiles of 64 pixels, 32 apart, and back
    assert float(joined.diff(dim=-1).abs().max()) < jump_between_tiles / 20


def test_progress_counts_every_tile() -> None:
    seen: list[tuple[int, int]] = []
    tiling.tiled(local_net(2, 2), picture(70, 90), 2, tile=32, overlap=4, progress=lambda a, b: seen.append((a, b)))
    total = tiling.count(70, 90, 32, 4)
    assert seen == [(i + 1, total) for i in range(total)]


def test_no_more_than_a_tile_is_seen_and_a_row_of_tiles_held() -> None:
    largest: list[int] = []

    def watch(low: Tensor) -> Tensor:
        largest.append(max(low.shape[-2:]))
        return F.interpolate(low, scale_factor=2)

    bands = list(tiling.bands(watch, picture(300, 40), 2, tile=32, overlap=4))
    assert max(largest) == 32
    assert max(band.shape[2] for band in bands) <= 64 and sum(band.shape[2] for band in bands) == 600


def test_eight_bits_are_the_rounded_floats() -> None:
    net, low = local_net(3, 2), picture(50, 41)
    assert torch.equal(
        tiling.tiled_uint8(net, low, 2, tile=24, overlap=5),
        images.to_uint8(tiling.tiled(net, low, 2, tile=24, overlap=5)),
    )


def test_bad_tiles_and_wrong_scales_are_named() -> None:
    with pytest.raises(FoundryError, match="tile must be larger than twice its overlap, got tile 32 and overlap 16"):
        tiling.tiled(local_net(2, 2), picture(64, 64), 2, tile=32, overlap=16)
    with pytest.raises(FoundryError, match="must return"):
        tiling.tiled(local_net(2, 2), picture(64, 64), 4, tile=32, overlap=8)


@pytest.mark.parametrize("depth", [2, 4])
def test_reach_is_at_most_the_receptive_field(depth: int) -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 27)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    net = nn.Sequential(*layers)
    assert tiling.reach(net, share=1.0 - 1e-9) == depth
    assert 0 < tiling.reach(net, share=0.9) <= depth
