"""Pictures must be there, be readable, and be the same bytes for the same values."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from srfoundry.core import seeds
from srfoundry.degradation import kernels
from srfoundry.imaging import images, resize
from srfoundry.reporting import pictures
from tests.full_disk import small_files

HIGH = torch.rand(1, 3, 120, 160, generator=seeds.generator(0, "report"))
LOW = resize.cubic(HIGH, 0.5).clamp(0, 1)
ENLARGED = resize.cubic(LOW, 2)
KERNEL = kernels.gaussian(15, torch.tensor([4.0]), torch.tensor([1.0]), torch.tensor([0.5]))
ROW = (LOW, {"ours": ENLARGED}, HIGH, None)
PHOTO = next(path for path in images.bundled() if path.stem == "coffee")
DRAWINGS: dict[str, Callable[[Path], None]] = {
    "comparison": lambda path: pictures.comparison(path, LOW, {"ours": ENLARGED}, HIGH),
    "without truth": lambda path: pictures.comparison(path, LOW, {"ours": ENLARGED}, None, box=(10, 20, 64, 48)),
    "pairs": lambda path: pictures.pairs(path, [(HIGH, {"bicubic": LOW, "gauss": LOW}), (HIGH, {"bicubic": LOW})]),
    "hero": lambda path: pictures.hero(path, [ROW, ROW]),
    "kernels": lambda path: pictures.kernels(path, {"true": KERNEL, **{f"bank {i}": KERNEL[0] for i in range(9)}}),
    "scatter": lambda path: pictures.scatter(path, {"dual": (9e5, 33.1), "pruned": (6e5, 33.0)}, "held out"),
    "blind": lambda path: pictures.blind(path, LOW, {"before": ENLARGED, "after": HIGH}, KERNEL, "kernel"),
    "skipped": lambda path: pictures.skipped(
        path, 3, {f"{i}.jpg": "torn " * 40 for i in range(99)}, [[("a", PHOTO)] * 2]
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawn_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "a.png", tmp_path / "b.png"
    DRAWINGS[name](first)
    DRAWINGS[name](second)
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as picture:
        picture.load()
        assert min(picture.size) > 60


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_a_full_disk_leaves_no_picture_that_is_cut_off(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    DRAWINGS["hero"](path)
    whole = path.read_bytes()
    path.unlink()
    with small_files(len(whole) - 100), pytest.raises(OSError):
        DRAWINGS["hero"](path)
    assert list(tmp_path.iterdir()) == []
