"""Patches are aligned across reductions, drawn from a seed alone, and cover all eight symmetries."""

import math
import pickle
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.imaging import patches as patch_files
from srfoundry.imaging import resize
from srfoundry.imaging.images import from_uint8
from srfoundry.imaging.patches import Patches
from tests.closed import prepared


@dataclass(frozen=True)
class Examined:
    """What preparing needs to know of a photograph."""

    path: Path
    height: int
    width: int

    @property
    def source(self) -> Path:
        """Decoded where it is prepared."""
        return self.path


def photograph(height: int, width: int, seed: int) -> torch.Tensor:
    """Noise of 8 bits, so that every patch can be told from every other."""
    levels = torch.randint(0, 256, (1, height, width, 3), generator=generator(seed), dtype=torch.uint8)
    return from_uint8(levels)


@pytest.fixture
def patches(tmp_path: Path) -> Patches:
    """Two photographs whose sizes are no multiples of the reductions."""
    return prepared(tmp_path, {"a": photograph(41, 50, 41), "b": photograph(64, 37, 64)}, [1, 2, 4])


def test_whole_photographs_come_back_cropped_to_a_multiple(patches: Patches) -> None:
    """Reductions are MATLAB's, of the 8-bit pixels."""
    assert patches.photographs() == ["a", "b"]
    assert patches.image("a").equal(photograph(41, 50, 41)[..., :40, :48])
    levels = (patches.image("b") * 255).round().to(torch.uint8)
    assert ((patches.image("b", 4) * 255).round().to(torch.uint8)).equal(resize.cubic_uint8(levels, 0.25))


def test_every_patch_is_a_symmetry_of_an_aligned_window(patches: Patches) -> None:
    """At all reductions the same window, turned the same way."""
    batch = patches.batch(24, 16, rng=generator(1, "batch"))
    assert {factor: tuple(x.shape[-2:]) for factor, x in batch.items()} == {1: (16, 16), 2: (8, 8), 4: (4, 4)}
    assert all(x.dtype == torch.float32 and x.is_contiguous() for x in batch.values())
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
    """One of the square's eight symmetries."""
    flipped = image.flip(-1) if which >= 4 else image
    return torch.rot90(flipped, which % 4, dims=(-2, -1))


def test_draws_depend_on_the_seed_alone(patches: Patches) -> None:
    """Not on the reductions asked for, on what was drawn before, or on the process."""
    first, again, other = (patches.batch(4, 16, rng=generator(seed, "b"))[1] for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)
    some = patches.batch(4, 16, rng=generator(1, "b"), factors=[2])
    assert list(some) == [2] and some[2].equal(patches.batch(4, 16, rng=generator(1, "b"))[2])
    copied = pickle.loads(pickle.dumps(patches))
    assert copied.batch(4, 16, rng=generator(1, "b"))[1].equal(first)


def test_a_share_of_the_patches_has_its_colours_in_another_order(patches: Patches) -> None:
    """The same at every reduction, whichever process cuts them."""
    plain = patches.batch(60, 16, rng=generator(1, "b"))
    drawn = patches.batch(60, 16, rng=generator(1, "b"), permuted=0.6)
    others = [index for index in range(60) if not drawn[1][index].equal(plain[1][index])]
    assert len(others) == pytest.approx(60 * 0.6 * 5 / 6, abs=10)
    for index in range(60):
        orders = [
            order
            for order in permutations(range(3))
            if all(drawn[factor][index].equal(plain[factor][index][list(order)]) for factor in drawn)
        ]
        assert len(orders) == 1
    halves = [patches.batch(60, 16, rng=generator(1, "b"), permuted=0.6, rows=slice(rank, 60, 2))[2] for rank in (0, 1)]
    assert torch.stack(halves, dim=1).flatten(0, 1).equal(drawn[2])


def test_photographs_are_drawn_evenly_and_only_those_kept(tmp_path: Path) -> None:
    """Whatever their sizes; a set with some of its photographs gives patches of those."""
    stripes = torch.arange(64) % 2 / 10
    made = {
        name: (level + stripes).expand(1, 3, rows, 64) for name, level, rows in [("dark", 0, 32), ("light", 0.8, 320)]
    }
    patches = prepared(tmp_path, made, [1])
    light = patches.batch(400, 16, rng=generator(1))[1].mean(dim=(1, 2, 3)) > 0.5
    assert 160 < int(light.sum()) < 240
    some = patches.only(["dark", "none"])
    assert some.photographs() == ["dark"]
    assert float(some.batch(20, 16, rng=generator(1))[1].max()) < 0.2


def test_flat_patches_are_avoided(tmp_path: Path) -> None:
    """A half-empty photograph gives few empty patches, an empty one gives them all the same."""
    image = torch.full((1, 3, 64, 64), 0.5)
    image[..., 40:, 40:] = photograph(24, 24, 1)
    patches = prepared(tmp_path, {"half": image, "empty": torch.full((1, 3, 64, 64), 0.5)}, [1])
    batch = patches.only(["half"]).batch(32, 16, rng=generator(1))[1]
    assert float((batch.std(dim=(1, 2, 3)) > 0.01).float().mean()) > 0.8
    assert patches.only(["empty"]).batch(4, 16, rng=generator(1))[1].std() == 0


def test_flat_is_what_mzsr_calls_flat() -> None:
    """The exact sums decide as the paper's logarithm of the mean squared gradient does."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 12, 12, 3))
    strength = np.linspace(0, 0.3, 60).reshape(-1, 1, 1, 1)
    patches = (128 + strength * (noise - 128)).astype(np.uint8)
    levels = patches / 255
    down, right = (levels[:, 1:, :-1] - levels[:, :-1, :-1], levels[:, :-1, 1:] - levels[:, :-1, :-1])
    texture = np.log((down**2 + right**2).mean(axis=(1, 2, 3)) + 1e-10)
    flat = patch_files._flat(patches)
    assert (flat == (texture < patch_files.FLAT)).all() and 0 < flat.sum() < 60
    assert math.isclose(texture[0], math.log(1e-10))


def test_what_was_read_leaves_memory_without_a_trace(patches: Patches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letting go of the files' pages, even at every window, changes no patch."""
    before = patches.batch(20, 16, rng=generator(1))
    monkeypatch.setattr(patch_files, "RESIDENT", -1)
    after = patches.batch(20, 16, rng=generator(1))
    assert all(before[factor].equal(after[factor]) for factor in (1, 2, 4))


def test_misfits_are_said(patches: Patches, tmp_path: Path) -> None:
    """What, got, do; and a set that is damaged is never read."""
    with pytest.raises(FoundryError, match="multiple of 4, got 18"):
        patches.batch(1, 18, rng=generator(1))
    with pytest.raises(FoundryError, match=r"b \(64x36\) is smaller than a patch of 40"):
        patches.batch(1, 40, rng=generator(1))
    with pytest.raises(FoundryError, match=r"has reductions \[1, 2, 4\], got \[3\]"):
        patches.batch(1, 16, rng=generator(1), factors=[3])
    with pytest.raises(FoundryError, match="no photograph"):
        patches.only([]).batch(1, 16, rng=generator(1))
    with pytest.raises(FoundryError, match="dvc repro synthesize"):
        Patches.open(tmp_path / "none")
    with (tmp_path / "x2.bin").open("rb+") as file:
        file.truncate(3012)
    with pytest.raises(FoundryError, match="x2.bin has 3012 of 3168 bytes"):
        Patches.open(tmp_path)
    (tmp_path / "x2.bin").unlink()
    with pytest.raises(FoundryError, match="damaged .x2.bin is missing"):
        Patches.open(tmp_path)
    for text in ("{", "[]", '{"factors": [1], "photographs": [{"name": "a"}]}'):
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(FoundryError, match="damaged"):
            Patches.open(tmp_path)
