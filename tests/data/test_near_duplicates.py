"""Copies of a photograph are found however they were made, and different photographs are kept apart."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from srfoundry.core.errors import FoundryError
from srfoundry.data import near_duplicates
from srfoundry.imaging import decoded, images
from tests.conftest import golden


def hashed(picture: Image.Image) -> str:
    return near_duplicates.hash_of(np.array(picture.convert("RGB")))


def saved(picture: Image.Image, kind: str, **how: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return Image.open(file)


def copies(picture: Image.Image) -> Iterator[Image.Image]:
    """What people do to a photograph and still call it the same."""
    width, height = picture.size
    for quality in (30, 60, 95):
        yield saved(picture, "JPEG", quality=quality)
    yield saved(picture, "WEBP", quality=40)
    yield saved(picture, "BMP")
    yield picture.quantize(256)
    for wide, high in ((0.25, 0.25), (0.6, 0.6), (2, 2), (1.05, 1), (1, 1.05)):
        yield picture.resize((round(width * wide), round(height * high)), Image.Resampling.BICUBIC)
    for factor in (0.9, 1.1):
        yield ImageEnhance.Brightness(picture).enhance(factor)
        yield ImageEnhance.Contrast(picture).enhance(factor)
    yield saved(picture.resize((width // 2, height // 2)).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=50)
    yield picture.crop((round(width * 0.02), round(height * 0.02), width, height))


def bundled() -> dict[str, Image.Image]:
    found = {path.stem: Image.open(path).convert("RGB") for path in images.bundled()}
    for picture in found.values():
        picture.thumbnail((400, 400))
    return found


def test_copies_are_grouped_and_different_photographs_are_not() -> None:
    hashes: dict[str, str] = {}
    for name, picture in bundled().items():
        hashes[name] = hashed(picture)
        hashes |= {f"{name} {index:02}": hashed(copy) for index, copy in enumerate(copies(picture))}
    found = near_duplicates.groups(hashes)
    scenes = [{images.SCENES.get(name.split()[0], name.split()[0]) for name in group} for group in found]
    assert all(len(scene) == 1 for scene in scenes), "two scenes in one group"
    assert len(found) == len(set.union(*scenes)), "a copy was missed"


def test_every_turn_of_a_photograph_is_found() -> None:
    picture = bundled()["chelsea"]
    turned = [picture.transpose(turn) for turn in Image.Transpose]
    hashes = {str(index): hashed(one) for index, one in enumerate([picture, *turned])}
    assert len(set(hashes.values())) == 8, "eight symmetries, the identity among them"
    assert near_duplicates.groups(hashes, distance=2) == [sorted(hashes)]


def test_photographs_of_public_sets_are_apart() -> None:
    folder = golden("train")
    paths = [*sorted((folder / "t91").iterdir()), *sorted((folder / "bsd400").iterdir())[:150]]
    found = near_duplicates.groups({path.stem: near_duplicates.hash_of(decoded.read(path)) for path in paths})
    assert [group for group in found if len(group) > 1] == [["t36", "t65"]]  # the same file, twice in t91


def test_likeness_is_transitive() -> None:
    step = [np.zeros(256, dtype=np.uint8) for _ in range(3)]
    step[1][10:20] = 1
    step[2][10:30] = 1
    hashes = {name: np.packbits(bits).tobytes().hex() for name, bits in zip("abc", step, strict=True)}
    assert near_duplicates.groups(hashes, distance=10) == [["a", "b", "c"]]
    assert near_duplicates.groups(hashes, distance=9) == [["a"], ["b"], ["c"]]
    assert near_duplicates.groups({}) == []


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 150), st.integers(0, 2**32 - 1), st.integers(90, 125))
def test_groups_are_those_of_the_plain_definition(count: int, seed: int, distance: int) -> None:
    """Against eight explicit symmetries, pair by pair, across the borders of chunks."""
    bits = np.random.default_rng(seed).random((count, 16, 16)) < 0.5
    bits[:, 0, 0] = False
    names = [f"{index:03}" for index in range(count)]
    odd = np.indices((16, 16)) % 2 == 1
    near = np.eye(count, dtype=bool)
    for turned in (bits, bits.transpose(0, 2, 1)):
        for flip in (False, odd[0], odd[1], odd[0] ^ odd[1]):
            near |= (bits[:, None] ^ (turned ^ flip)[None]).sum((-1, -2)) <= distance
    for _ in range(8):  # paths of up to 256 steps
        near = near @ near
    expected = {tuple(names[index] for index in np.flatnonzero(row)) for row in near | near.T}
    hashes = {name: np.packbits(one).tobytes().hex() for name, one in zip(names, bits, strict=True)}
    assert near_duplicates.groups(hashes, distance) == sorted(map(list, expected))


def test_a_flat_image_has_a_hash_without_chance() -> None:
    assert near_duplicates.hash_of(np.full((33, 57, 3), 77, dtype=np.uint8)) == "00" * 32


@pytest.mark.parametrize("wrong", ["", "zz" * 32, "00" * 31])
def test_a_hash_of_another_kind_is_said(wrong: str) -> None:
    with pytest.raises(FoundryError, match="a: a hash has 64 hex digits"):
        near_duplicates.groups({"a": wrong})
