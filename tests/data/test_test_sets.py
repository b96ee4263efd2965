"""Test images are the degradation of the photographs, exact, and the same bytes however many are made at once."""

from pathlib import Path

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.core.seeds import generator
from srfoundry.data import test_sets
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.settings import Corruption
from srfoundry.imaging import images, resize


@pytest.fixture
def photographs(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for index, name in enumerate(("a", "b", "c")):
        found[name] = tmp_path / "photographs" / f"{name}.png"
        images.write(torch.rand(1, 3, 41 + index, 50, generator=generator(index)), found[name])
    return found


def recipe(noise: float = 0.0, jpeg: int = 0) -> test_sets.Recipe:
    bank, _ = kernels.draw_gaussian(2, size=9, scale=2, rng=generator(1))
    return test_sets.Recipe(2, {"one": bank[:1], "two": bank[1:]}, Corruption(noise=noise, jpeg=jpeg), 0)


def test_images_are_the_degradation_of_the_cropped_photographs(tmp_path: Path, photographs: dict[str, Path]) -> None:
    made = recipe()
    test_sets.write(tmp_path / "set", photographs, made, mapped=threads(1))
    whole = images.to_uint8(images.read(photographs["a"]))[:, :40, :50]
    assert images.to_uint8(images.read(tmp_path / "set" / "high" / "a.png")).equal(whole)
    reduced = resize.cubic_uint8(whole.permute(0, 3, 1, 2), 0.5).permute(0, 2, 3, 1)
    assert images.to_uint8(images.read(tmp_path / "set" / test_sets.BICUBIC / "a.png")).equal(reduced)
    low = operator.degrade(images.from_uint8(whole, torch.float64), made.kernels["two"], 2)
    assert images.to_uint8(images.read(tmp_path / "set" / "two" / "a.png")).equal(images.to_uint8(low))


def test_all_cores_make_the_bytes_of_one(tmp_path: Path, photographs: dict[str, Path]) -> None:
    for workers in (1, 3):
        test_sets.write(tmp_path / str(workers), photographs, recipe(noise=0.02, jpeg=80), mapped=threads(workers))
    first = {path.relative_to(tmp_path / "1"): path.read_bytes() for path in (tmp_path / "1").rglob("*.png")}
    second = {path.relative_to(tmp_path / "3"): path.read_bytes() for path in (tmp_path / "3").rglob("*.png")}
    assert first == second and len(first) == 12


def test_noise_differs_from_photograph_to_photograph(tmp_path: Path) -> None:
    same = {}
    for name in ("a", "b"):
        same[name] = tmp_path / f"{name}.png"
        images.write(torch.full((1, 3, 32, 32), 0.5), same[name])
    test_sets.write(tmp_path / "set", same, recipe(noise=0.1), mapped=threads(1))
    a, b = (images.read(tmp_path / "set" / "one" / f"{name}.png") for name in same)
    assert float((a - b).std()) == pytest.approx(0.1 * 2**0.5, rel=0.1)


def test_a_photograph_smaller_than_the_scale_is_said(tmp_path: Path) -> None:
    images.write(torch.zeros(1, 3, 3, 9), tmp_path / "tiny.png")
    with pytest.raises(FoundryError, match="tiny.png is 9x3, smaller than the scale 4"):
        test_sets.exact(tmp_path / "tiny.png", 4)
