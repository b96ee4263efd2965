"""Tiles must not show, must bound memory and waste little, and must not change what a local net gives."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images, levels, tensor_tiles, tiling


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


def on_arrays(net: nn.Module) -> tiling.Upscale:
    return lambda low: net(torch.from_numpy(low)).numpy()


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=seeds.generator(1, "picture", height, width))


@pytest.mark.parametrize(("height", "width"), [(97, 61), (40, 200), (33, 33), (5, 7), (64, 64), (3, 700)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_equals_the_whole_image_where_the_overlap_covers_the_receptive_field(
    height: int, width: int, scale: int
) -> None:
    net, low = local_net(4, scale), picture(height, width)
    tiled = tensor_tiles.tiled(net, low, scale, tile=32, overlap=9)
    torch.testing.assert_close(tiled, net(low), atol=2e-5, rtol=0)
    arrays = tiling.tiled(on_arrays(net), low.numpy(), scale, tile=32, overlap=9)
    torch.testing.assert_close(torch.from_numpy(arrays), tiled, atol=1e-6, rtol=0)


def test_a_smaller_overlap_would_not_do() -> None:
    net, low = local_net(8, 2), picture(64, 64)
    assert (tensor_tiles.tiled(net, low, 2, tile=32, overlap=2) - net(low)).abs().max() > 1e-3


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 64), st.integers(0, 31), st.sampled_from([1, 2, 3]))
def test_weights_sum_to_one_and_tiles_cover_everything(
    height: int, width: int, tile: int, overlap: int, scale: int
) -> None:
    if tile <= 2 * overlap:
        return
    grid = tiling.fit(height, width, tile, overlap)
    assert grid.tall * grid.wide <= tile**2 and max(grid.tall, grid.wide) <= 4 * tile
    for extent, first, size in ((height, grid.rows, grid.tall), (width, grid.columns, grid.wide)):
        assert first[0] == 0 and first[-1] + size == extent and first == sorted(first)
        assert all(b - a <= size - 2 * overlap for a, b in zip(first[:-1], first[1:], strict=True))
        total = np.zeros(extent * scale)
        for start, weight in zip(first, tiling.weights(first, size, overlap, scale), strict=True):
            assert weight.min() >= -1e-7
            total[start * scale : (start + size) * scale] += weight
        np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize(
    ("side", "overlap", "most"),
    [(257, 8, 1.0), (257, 16, 1.0), (512, 8, 1.1), (512, 16, 1.25), (1024, 8, 1.1), (1024, 16, 1.2), (4000, 8, 1.11)],
)
def test_few_pixels_are_computed_twice(side: int, overlap: int, most: float) -> None:
    assert tiling.fit(side, side, 320, overlap).computed <= most * side**2


@pytest.mark.parametrize("shape", [(257, 257), (300, 260), (320, 700), (900, 901), (64, 3000)])
def test_fitted_tiles_compute_no_more_than_full_ones_would(shape: tuple[int, int]) -> None:
    """The grid before: as many tiles of full size as cover the image."""
    full = 1
    for extent in shape:
        full *= 256 * -(-(extent - 32) // (256 - 32)) if extent > 256 else extent
    assert tiling.fit(*shape, 256, 16).computed <= full


def every_grid(height: int, width: int, tile: int, overlap: int) -> list[tiling.Grid]:
    """All grids that `fit` may choose from, each built: what it must equal, at a cost that grows with the square."""
    grids: list[tiling.Grid] = []
    slimmest, side, starts = tiling.SLIMMEST, tiling._side, tiling._starts
    most = min(slimmest * math.ceil(max(height - 2 * overlap, 1) / (tile - 2 * overlap)), height)
    for rows in range(1, most + 1):
        tall = side(height, rows, overlap)
        room = min(tile * tile // tall, slimmest * tile)
        if tall <= slimmest * tile and (room >= width or room > 2 * overlap):
            columns = 1 if room >= width else math.ceil((width - 2 * overlap) / (room - 2 * overlap))
            wide = side(width, columns, overlap)
            grids.append(tiling.Grid(starts(height, tall, rows), starts(width, wide, columns), tall, wide, overlap))
    return grids


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 1500), st.integers(1, 128), st.integers(0, 40))
def test_the_grid_is_the_best_of_all(height: int, width: int, tile: int, overlap: int) -> None:
    if tile <= 2 * overlap:
        return
    best = min(every_grid(height, width, tile, overlap), key=lambda grid: (grid.computed, grid.count))
    assert tiling.fit(height, width, tile, overlap) == best
    assert tiling.count(height, width, tile, overlap) == best.count


@pytest.mark.parametrize("shape", [(1_000_000, 24), (24, 1_000_000), (24_000_000, 1)])
def test_the_tiles_of_a_slim_image_are_counted_without_a_list_of_them(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header of few bytes may claim it; few candidates are weighed, and only the one that is chosen is built."""
    calls, tried, starts, side = list[int](), list[int](), tiling._starts, tiling._side
    monkeypatch.setattr(tiling, "_starts", lambda *of: calls.append(of[2]) or starts(*of))
    monkeypatch.setattr(tiling, "_side", lambda *of: tried.append(of[1]) or side(*of))
    tiles = tiling.count(*shape, 32, 8)
    assert tiles > 10_000 and not calls and len(tried) <= 4 * math.isqrt(shape[0]) + 2
    grid = tiling.fit(*shape, 32, 8)
    assert grid.count == tiles and calls == [len(grid.rows), len(grid.columns)]


def test_disagreeing_tiles_leave_no_seam() -> None:
    """A net with global means gives every tile another brightness: neighbours may differ, pixels must not jump."""

    def by_mean(low: Tensor) -> Tensor:
        return low.mean().expand(1, 3, low.shape[-2] * 2, low.shape[-1] * 2)

    ramp = torch.linspace(0, 1, 1024).expand(1, 3, 8, 1024)
    joined = tensor_tiles.tiled(by_mean, ramp, 2, tile=32, overlap=8)
    whole = [part.mean() for part in ramp.split(128, dim=-1)]
    jump = float(whole[1] - whole[0])  # what a hard cut would show
    assert 0 < float(joined.diff(dim=-1).abs().max()) < jump / 8


def test_progress_counts_every_tile() -> None:
    seen: list[tuple[int, int]] = []
    low = picture(70, 90)
    tensor_tiles.tiled(local_net(2, 2), low, 2, tile=32, overlap=4, progress=lambda a, b: seen.append((a, b)))
    total = tiling.count(70, 90, 32, 4)
    assert total > 4 and seen == [(i + 1, total) for i in range(total)]
    assert tiling.count(0, 0, 32, 4) == 0  # of a file whose header cannot be read


def test_no_more_than_a_tile_is_seen_and_two_rows_of_tiles_held() -> None:
    largest: list[int] = []

    def watch(low: np.ndarray) -> np.ndarray:
        largest.append(low.shape[-2] * low.shape[-1])
        return low.repeat(2, 2).repeat(2, 3)

    pixels = levels.to_levels(picture(300, 40).numpy())
    tiling.tiled_uint8(watch, pixels, 2, tile=32, overlap=4)
    assert max(largest) <= 32 * 32
    grid = tiling.fit(300, 40, 32, 4)
    run = lambda rows, columns: watch(levels.to_floats(pixels[rows, columns]))  # noqa: E731
    bands = list(tiling.blended(run, grid, 2, 3, arrays=tiling._Plain()))
    assert max(band.shape[2] for band in bands) <= 2 * grid.tall and sum(band.shape[2] for band in bands) == 600


def test_eight_bits_are_the_rounded_floats() -> None:
    net, low = on_arrays(local_net(3, 2)), images.from_uint8(images.to_uint8(picture(50, 41)))
    whole = tiling.tiled(net, low.numpy(), 2, tile=24, overlap=5)
    eight = tiling.tiled_uint8(net, images.to_uint8(low)[0].numpy(), 2, tile=24, overlap=5)
    assert np.array_equal(eight, images.to_uint8(torch.from_numpy(whole))[0].numpy())


def test_levels_are_those_of_tensors() -> None:
    pixels = images.to_uint8(picture(9, 8))[0].numpy()
    assert torch.equal(torch.from_numpy(levels.to_floats(pixels)), images.from_uint8(torch.from_numpy(pixels)[None]))
    ties = (torch.arange(511, dtype=torch.float32) / 510).reshape(1, 1, 7, 73).repeat(1, 3, 1, 1) * 1.2 - 0.1
    assert np.array_equal(levels.to_levels(ties.numpy()), images.to_uint8(ties)[0].numpy())


def test_the_result_is_the_same_each_time() -> None:
    net, low = on_arrays(local_net(3, 2)), picture(90, 77).numpy()
    once, again = (tiling.tiled(net, low, 2, tile=24, overlap=5) for _ in range(2))
    assert np.array_equal(once, again)


def test_bad_tiles_and_wrong_scales_are_named() -> None:
    with pytest.raises(FoundryError, match="tile must be larger than twice its overlap, got tile 32 and overlap 16"):
        tensor_tiles.tiled(local_net(2, 2), picture(64, 64), 2, tile=32, overlap=16)
    with pytest.raises(FoundryError, match="must return"):
        tensor_tiles.tiled(local_net(2, 2), picture(64, 64), 4, tile=32, overlap=8)


@pytest.mark.parametrize("depth", [2, 4])
def test_reach_is_at_most_the_receptive_field(depth: int) -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 27)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    net = nn.Sequential(*layers)
    assert tensor_tiles.reach(net, share=1.0 - 1e-9) == depth
    assert 0 < tensor_tiles.reach(net, share=0.9) <= depth
