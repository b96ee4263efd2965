"""Batches: patches at half size, images without a photograph, and pairs made through a known kernel."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernel_files
from srfoundry.degradation.kernels import gaussian
from srfoundry.dual_regression.batch import DegradedBatch, joined
from srfoundry.dual_regression.batches import draw, pairs, reduced_by, targets
from srfoundry.dual_regression.unpaired import read_kernels, read_unpaired, windows
from srfoundry.imaging import images, resize
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.training.settings import PatchDraw
from tests.closed import photographs, ranges

DRAWS = PatchDraw(patch=16, octave=0.5, batch=2)
BLUR = gaussian(7, torch.tensor([0.4]), torch.tensor([3.0]), torch.tensor([1.0]))
DELTA = torch.zeros(1, 3, 3).index_put((torch.tensor(0), torch.tensor(1), torch.tensor(1)), torch.tensor(1.0))


def test_windows_are_cut_from_the_images_alone() -> None:
    sources = [torch.full((1, 3, 9, 14), 0.25), torch.full((1, 3, 30, 8), 0.75)]
    found, again = (windows(sources, count=40, size=8, rng=generator(1, "cut")) for _ in range(2))
    cut = torch.stack([each.image for each in found])
    assert cut.shape == (40, 3, 8, 8)
    assert set(cut.flatten().tolist()) == {0.25, 0.75}
    assert torch.equal(cut, torch.stack([each.image for each in again]))
    assert all(float(sources[each.source].mean()) == float(each.image.mean()) for each in found)


def test_a_window_knows_how_it_was_turned() -> None:
    source = torch.rand(1, 3, 8, 8, generator=generator(1, "source"))
    for window in windows([source], count=16, size=8, rng=generator(2, "cut")):
        assert torch.equal(window.turned(source[0]), window.image)
        assert torch.equal(window.back(window.image), source[0])


def test_a_folder_of_low_resolution_photographs(tmp_path: Path) -> None:
    for name, side in (("b.png", 20), ("a.png", 16)):
        images.write(torch.rand(1, 3, 16, side, generator=generator(1, name)), tmp_path / "low" / name)
    assert [tuple(image.shape) for image in read_unpaired(tmp_path / "low", 16)] == [(1, 3, 16, 16), (1, 3, 16, 20)]
    with pytest.raises(FoundryError, match=r"a\.png \(16x16\) is smaller than a low-resolution patch of 17; remove it"):
        read_unpaired(tmp_path / "low", 17)


def test_pairs_can_come_through_a_kernel(tmp_path: Path) -> None:
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    plain = reduced_by(KernelDual.of(DELTA, scale=2, decimation="bicubic"), batch, 2)
    assert float((plain[2] - batch[2])[..., 2:-2, 2:-2].abs().max()) < 0.006, "no blur: MATLAB's bicubic, in 8 bits"
    blurred = reduced_by(KernelDual.of(BLUR, scale=2), batch, 2)
    assert torch.equal(blurred[1], batch[1])
    torch.testing.assert_close(targets(blurred, 2)[0] * 255, (targets(blurred, 2)[0] * 255).round(), atol=1e-4, rtol=0)


def test_targets_are_smallest_first() -> None:
    batch = {f: torch.zeros(1, 3, 16 // f, 16 // f) for f in (1, 2, 4)}
    assert [t.shape[-1] for t in targets(batch, 4)] == [4, 8, 16]
    assert [t.shape[-1] for t in targets(batch, 2)] == [8, 16]
    assert [t.shape[-1] for t in targets({1: torch.zeros(1, 3, 12, 12), 3: torch.zeros(1, 3, 4, 4)}, 3)] == [4, 12]


@pytest.mark.parametrize(("scale", "patch"), [(2, 16), (4, 16), (8, 24)])
def test_halved_photographs_are_aligned_at_every_scale(tmp_path: Path, scale: int, patch: int) -> None:
    patches = photographs(tmp_path, [1, 2, 4, 8])
    batch = draw(patches, replace(DRAWS, batch=4, patch=patch), scale=scale, rng=generator(1, "batch"))
    assert {factor: tuple(image.shape) for factor, image in batch.items()} == {
        factor: (4, 3, patch // factor, patch // factor) for factor in (1, 2, 4, 8) if factor <= scale
    }
    for factor in (2, scale):
        smaller = resize.cubic(batch[1], 1 / factor)
        assert float((smaller - batch[factor])[..., 1:-1, 1:-1].abs().max()) < 0.06


def test_at_three_they_are_a_third(tmp_path: Path) -> None:
    patches = photographs(tmp_path, [1, 3])
    batch = draw(patches, replace(DRAWS, batch=4, patch=18), scale=3, rng=generator(1, "batch"))
    assert {factor: tuple(image.shape) for factor, image in batch.items()} == {1: (4, 3, 18, 18), 3: (4, 3, 6, 6)}
    smaller = resize.cubic(batch[1], 1 / 3)
    assert float((smaller - batch[3])[..., 1:-1, 1:-1].abs().max()) < 0.06


def test_kernels_stand_beside_their_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        images.write(torch.rand(1, 3, 16, 16, generator=generator(1, name)), tmp_path / name)
    with pytest.raises(FoundryError, match=r"a\.png has no kernel, got no a_kernel\.npy; run: srfoundry restore"):
        read_kernels(tmp_path, 2)
    kernel_files.save(BLUR[0], tmp_path / "a_kernel.npy")
    kernel_files.save(BLUR[0].flip(-1), tmp_path / "b_restored_kernel.npy")
    for found, blur in zip(read_kernels(tmp_path, 2), (BLUR, BLUR.flip(-1)), strict=True):
        middle = (found.shape[-1] - 1) / 2
        moved = conventions.centre_of_mass(found) - middle
        torch.testing.assert_close(moved, torch.full_like(moved, 0.5), atol=0.02, rtol=0)
        assert float(found.sum()) == pytest.approx(1) and found.shape[-1] > blur.shape[-1]


def test_the_model_bicubic_keeps_the_prepared_set(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    plain, same = (
        pairs(patches, DRAWS, model, scale=2, rng=generator(1, "pairs")) for model in (None, ranges("bicubic"))
    )
    assert all(torch.equal(plain[factor], same[factor]) for factor in plain)


def test_joined_batches_keep_their_operators(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    first, second = (
        pairs(patches, replace(DRAWS, batch=4), ranges("photographs"), scale=2, rng=generator(seed, "pairs"))
        for seed in (1, 2)
    )
    both = joined(first, second)
    assert isinstance(first, DegradedBatch) and isinstance(second, DegradedBatch) and isinstance(both, DegradedBatch)
    assert torch.equal(both[2], torch.cat([first[2], second[2]]))
    made = torch.cat([first.operator(first[1]), second.operator(second[1])])
    torch.testing.assert_close(both.operator(both[1]), made, atol=1e-7, rtol=0)
