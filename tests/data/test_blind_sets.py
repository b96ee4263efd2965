"""Blind test sets: drawn anew for each photograph, on the bicubic grid, and all that was drawn is said."""

import json
from pathlib import Path

import pytest
import torch

from srfoundry.core.parallel import threads
from srfoundry.core.seeds import generator
from srfoundry.data import blind_sets, test_sets
from srfoundry.degradation import conventions, kernel_files, operator
from srfoundry.degradation.settings import Corruption
from srfoundry.imaging import images, metrics, resize
from srfoundry.networks.zoo.family import BLIND


def photograph(height: int = 96, width: int = 132) -> torch.Tensor:
    """Smooth waves with some texture, in 8 bits."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.stack([0.5 + 0.4 * torch.sin(x / a) * torch.cos(y / b) for a, b in ((3, 7), (5, 4), (9, 3))])
    noise = 0.05 * torch.rand(3, height, width, generator=generator(0))
    return images.from_uint8(images.to_uint8((waves + noise).unsqueeze(0)), torch.float64)


def test_every_set_is_evaluated() -> None:
    """Stages and the program read the names alone, and none would miss a set that they lack."""
    assert BLIND == tuple(blind_sets.SETS)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", blind_sets.SETS)
def test_images_lie_on_the_bicubic_grid(name: str, scale: int) -> None:
    """Plain bicubic enlargement fits better where it is than moved by a low-resolution pixel's half, any way."""
    high = photograph()
    found: dict[tuple[int, int], float] = {}
    for seed in range(4):
        low = blind_sets.SETS[name](high, scale, rng=generator(seed)).low
        assert low.shape[-2:] == (96 // scale, 132 // scale)
        assert images.from_uint8(images.to_uint8(low), torch.float64).equal(low)
        large = resize.cubic(low, scale).clamp(0, 1)
        for way in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            moved = large.roll(way, dims=(-2, -1))
            found[way] = found.get(way, 0.0) + metrics.psnr_y(moved, high, 2 * scale)
    assert max(found, key=lambda way: found[way]) == (0, 0), found


@pytest.mark.parametrize("scale", [2, 4])
def test_div2krk_is_its_kernel_and_nothing_else(scale: int) -> None:
    high = photograph()
    sample = blind_sets.div2krk(high, scale, rng=generator(1))
    assert sample.kernel is not None and sample.kernel.shape == (10 * scale - 9,) * 2
    low = operator.degrade(high, sample.kernel[None], scale)
    assert images.to_uint8(low).equal(images.to_uint8(sample.low))
    middle = (10 * scale - 9) // 2 + (scale - 1) / 2
    assert conventions.centre_of_mass(sample.kernel.double()).tolist() == pytest.approx([middle, middle], abs=0.05)
    assert 0.175 * scale <= sample.facts["variance1"] <= 2.5 * scale


def test_photographs_stay_within_what_is_said() -> None:
    for seed in range(12):
        facts = blind_sets.photographs(photograph(32, 32), 2, rng=generator(seed)).facts
        for part in (facts["first"], facts["second"]):
            assert (
                (part["jpeg"] == 0 or 30 <= part["jpeg"] <= 95) and 0 <= part["noise"] <= 20 and 0 <= part["blur"] <= 2
            )
        assert facts["second"]["size"] == [16, 16] and 16 <= facts["first"]["size"][0] <= 38


def test_a_set_says_all_that_was_drawn_whatever_the_workers(tmp_path: Path) -> None:
    paths = {}
    for index, name in enumerate(("a", "b", "c")):
        paths[name] = tmp_path / "photographs" / f"{name}.png"
        images.write(photograph(40 + index, 50).float(), paths[name])
    kinds = list(blind_sets.SETS)
    for workers in (1, 3):
        recipe = test_sets.Recipe(2, {}, Corruption(noise=0.0, jpeg=0), 5, kinds)
        test_sets.write(tmp_path / str(workers), paths, recipe, mapped=threads(workers))
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "1", tmp_path / "3")
    )
    blurred = [kind for kind in kinds if blind_sets.SETS[kind](photograph(), 2, rng=generator(0)).kernel is not None]
    pictures = ["high", test_sets.BICUBIC, *kinds, *(f"{kind}_kernels" for kind in blurred)]
    assert first == second and len(first) == 3 * len(pictures) + len(kinds)  # each with a manifest
    said = json.loads((tmp_path / "1" / "div2krk.json").read_text())
    assert said["scale"] == 2 and said["seed"] == 5 and list(said["photographs"]) == ["a", "b", "c"]
    drawn = [row["variance1"] for row in said["photographs"].values()]
    assert len(set(drawn)) == 3, "one kernel an image"
    kernel = kernel_files.read(tmp_path / "1" / said["photographs"]["b"]["kernel"])
    high, made = test_sets.read(tmp_path / "1", "b")
    assert list(made) == [test_sets.BICUBIC, *kinds]
    assert float((operator.degrade(high, kernel, 2) - made["div2krk"]).abs().max()) < 0.51 / 255
