"""Patches are aligned across reductions, drawn from a seed alone, and cover all eight symmetries."""

from pathlib import Path

import pytest
import torch

from srfoundry import dataset, resize
from srfoundry.dataset import Patches
from srfoundry.errors import FoundryError
from srfoundry.images import from_uint8
from srfoundry.seeds import generator


def photograph(height: int, width: int, seed: int) -> torch.Tensor:
    levels = torch.randint(0, 256, (1, height, width, 3), generator=generator(seed), dtype=torch.uint8)
    return from_uint8(levels)


@pytest.fixture
def patches(tmp_path: Path) -> Patches:
    sizes = [("a", 41, 50), ("b", 64, 37)]
    dataset.prepare(tmp_path, [(name, photograph(h, w, h)) for name, h, w in sizes], [1, 2, 4])
    return Patches.open(tmp_path)


def test_whole_photographs_come_back_cropped_to_a_multiple(patches: Patches) -> None:
    assert patches.photographs() == ["a", "b"]
    assert patches.image("a").equal(photograph(41, 50, 41)[..., :40, :48])
    levels = (patches.image("b") * 255).round().to(torch.uint8)
    assert ((patches.image("b", 4) * 255).round().to(torch.uint8)).equal(resize.cubic_uint8(levels, 0.25))


def test_every_patch_is_a_symmetry_of_an_aligned_window(patches: Patches) -> None:
    batch = patches.batch(24, 16, rng=generator(1, "batch"))
    assert {factor: tuple(x.shape[-2:]) for factor, x in batch.items()} == {1: (16, 16), 2: (8, 8), 4: (4, 4)}
    turns = set()
    for high, low in zip(batch[1], batch[4], strict=True):
        found = None
        for name in patches.photographs():
            whole, reduced = patches.image(name)[0], patches.image(name, 4)[0]
            for turn in range(8):
                for top in range(0, whole.shape[-2] - 15, 4):
                    for left in range(0, whole.shape[-1] - 15, 4):
                        window = whole[:, top : top + 16, left : left + 16]
                        if turned(window, turn).equal(high):
                            small = reduced[:, top // 4 : top // 4 + 4, left // 4 : left // 4 + 4]
                            assert turned(small, turn).equal(low)
                            found = turn
        assert found is not None
        turns.add(found)
    assert len(turns) >= 6


def turned(image: torch.Tensor, which: int) -> torch.Tensor:
    flipped = image.flip(-1) if which >= 4 else image
    return torch.rot90(flipped, which % 4, dims=(-2, -1))


def test_draws_depend_on_the_seed_alone(patches: Patches) -> None:
    first, again, other = (patches.batch(4, 16, rng=generator(seed, "b"))[1] for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)


def test_flat_patches_are_avoided(tmp_path: Path) -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    image[..., 40:, 40:] = photograph(24, 24, 1)
    dataset.prepare(tmp_path, [("half", image)], [1])
    batch = Patches.open(tmp_path).batch(32, 16, rng=generator(1))[1]
    assert float((batch.std(dim=(1, 2, 3)) > 0.01).float().mean()) > 0.8


def test_misfits_are_said(patches: Patches, tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="multiple of 4, got 18"):
        patches.batch(1, 18, rng=generator(1))
    with pytest.raises(FoundryError, match="smaller than a patch"):
        patches.batch(1, 60, rng=generator(1))
    with pytest.raises(FoundryError, match="dvc repro synthesize"):
        Patches.open(tmp_path / "none")
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(FoundryError, match="damaged"):
        Patches.open(tmp_path)
