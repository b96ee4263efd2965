"""A set is the same bytes however it is prepared, and whole or not there at all."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.data import sources
from srfoundry.data.prepare import prepare
from srfoundry.imaging import decoding, images, resize
from srfoundry.imaging.patches import Patches
from tests.albums import source
from tests.imaging.test_patches import Examined, photograph

SIZES = {"a": (41, 50), "b": (64, 37), "c": (33, 47), "d": (20, 20), "e": (44, 60)}
FILES = ("x1.bin", "x2.bin", "x4.bin", "index.json")


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Examined]:
    """Photographs on disk, with their sizes."""
    for name, (height, width) in SIZES.items():
        images.write(photograph(height, width, height), tmp_path / "photographs" / f"{name}.png")
    return {name: Examined(tmp_path / "photographs" / f"{name}.png", *size) for name, size in SIZES.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a set."""
    assert {path.name for path in folder.iterdir()} == set(FILES)
    return {name: (folder / name).read_bytes() for name in FILES}


def backwards(function: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
    """A Map of another machine: the last item first, everything pickled on its way."""
    function = pickle.loads(pickle.dumps(function))
    results = [function(pickle.loads(pickle.dumps(item))) for item in reversed(items)]
    yield from reversed(results)


def test_files_hold_one_photograph_after_the_other(tmp_path: Path, found: dict[str, Examined]) -> None:
    """Cropped to multiples of the largest reduction; 8 bits, `h w c`."""
    prepare(tmp_path / "set", found, [1, 2, 4], mapped=threads(1))
    wanted = {factor: b"" for factor in (1, 2, 4)}
    for height, width in SIZES.values():
        high = photograph(height, width, height)[..., : height // 4 * 4, : width // 4 * 4]
        levels = (high * 255).round().to(torch.uint8)
        for factor in wanted:
            reduced = levels if factor == 1 else resize.cubic_uint8(levels, 1 / factor)
            wanted[factor] += reduced[0].permute(1, 2, 0).numpy().tobytes()
    for factor, pixels in wanted.items():
        assert (tmp_path / "set" / f"x{factor}.bin").read_bytes() == pixels
    assert Patches.open(tmp_path / "set").photographs() == list(SIZES)


def test_bytes_do_not_depend_on_workers_or_order(tmp_path: Path, found: dict[str, Examined]) -> None:
    """One worker, four, or another machine that begins at the end."""
    for name, mapped in {"one": threads(1), "four": threads(4), "elsewhere": backwards}.items():
        prepare(tmp_path / name, found, [1, 2, 4], mapped=mapped)
    assert contents(tmp_path / "one") == contents(tmp_path / "four") == contents(tmp_path / "elsewhere")


def test_a_photograph_is_decoded_once(
    tmp_path: Path, found: dict[str, Examined], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examined and prepared: the pixels are kept meanwhile, and the bytes are those of decoding twice."""
    decodings = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda path, *rest: decodings.append(path.stem) or decode(path, *rest))
    paths = [(path.name, path) for path in (photograph.path for photograph in found.values())]
    gathered = sources.gather(paths, source(smallest=16), mapped=threads(2), keep=tmp_path / "kept")
    prepare(tmp_path / "set", gathered.photographs, [1, 2, 4], mapped=threads(2))
    assert sorted(decodings) == sorted(SIZES)
    prepare(tmp_path / "twice", found, [1, 2, 4], mapped=threads(2))
    assert contents(tmp_path / "set") == contents(tmp_path / "twice")
    (tmp_path / "file").touch()
    with pytest.raises(FoundryError, match=r"pixels of .*a.png cannot be kept in .*make room"):
        sources.gather(paths, source(smallest=16), mapped=threads(1), keep=tmp_path / "file")


def test_stopped_preparation_leaves_no_set(tmp_path: Path, found: dict[str, Examined]) -> None:
    """Nor does the index of an older one stand beside half-written pixels, or a cache's copy change."""
    folder = tmp_path / "set"
    prepare(folder, found, [1, 2, 4], mapped=threads(1))
    before = contents(folder)
    (tmp_path / "cached").hardlink_to(folder / "x1.bin")

    def stopped(function: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
        yield function(items[1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(folder, found, [1, 2, 4], mapped=stopped)
    with pytest.raises(FoundryError, match="holds no prepared set"):
        Patches.open(folder)
    assert (tmp_path / "cached").read_bytes() == before["x1.bin"]
    prepare(folder, found, [1, 2, 4], mapped=threads(2))
    assert contents(folder) == before


def test_what_cannot_be_prepared_is_said(
    tmp_path: Path, found: dict[str, Examined], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photograph that changed, one that is too small, a full disk."""
    images.write(photograph(20, 24, 1), found["d"].path)
    with pytest.raises(FoundryError, match=r"d.png was 20x20 when it was examined, got 24x20"):
        prepare(tmp_path / "set", found, [1], mapped=threads(2))
    assert not (tmp_path / "set" / "index.json").exists()
    with pytest.raises(FoundryError, match="is 50x3, smaller than the reduction 4"):
        prepare(tmp_path / "set", {"a": Examined(found["a"].path, 3, 50)}, [1, 4], mapped=threads(1))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 20_000}))
    with pytest.raises(FoundryError, match=r"needs 0.00 GB, got 0.00 GB free; make room"):
        prepare(tmp_path / "set", found, [1], mapped=threads(1))
    assert not (tmp_path / "set" / "x1.bin").exists()
