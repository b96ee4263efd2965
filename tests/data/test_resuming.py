"""Work on many photographs that was killed goes on; its files end with the bytes of work that was not."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from srfoundry.core.parallel import threads
from srfoundry.data import sources, test_sets
from srfoundry.data.prepare import prepare
from srfoundry.data.resuming import forget, hand_over, resumed
from srfoundry.degradation.settings import Corruption
from tests.albums import folder, serial, source

NAMES = ("a.png", "b.png", "c.png", "d.png")


class Killed(Exception):
    """The run ends here."""


def killed_after(count: int) -> Callable[..., Iterator[Any]]:
    """A map that ends in the middle of the work."""

    def mapped(function: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
        for item in items[:count]:
            yield function(item)
        raise Killed

    return mapped


def test_only_what_is_missing_is_done_again(tmp_path: Path) -> None:
    """Results and their order are those of a run that was not killed; another key begins anew."""
    calls: list[int] = []

    def double(item: int) -> int:
        calls.append(item)
        return 2 * item

    with pytest.raises(Killed):
        list(resumed(killed_after(3), tmp_path / "work", "one")(double, [1, 2, 3, 4], "doubling"))
    (tmp_path / "work" / "left").touch()
    assert list(resumed(serial, tmp_path / "work", "one")(double, [1, 2, 3, 4], "doubling")) == [2, 4, 6, 8]
    assert calls == [1, 2, 3, 4]
    assert list(resumed(serial, tmp_path / "work", "one")(double, [1, 2], "doubling again")) == [2, 4]
    assert (tmp_path / "work" / "left").exists()
    calls.clear()
    assert list(resumed(serial, tmp_path / "work", "two")(double, [1, 2], "doubling")) == [2, 4]
    assert calls == [1, 2]
    assert not (tmp_path / "work" / "left").exists()


def test_what_could_not_be_done_is_tried_again(tmp_path: Path) -> None:
    """A photograph that could not be read, and then can."""
    paths = sources.listed(source(), folder(tmp_path / "photographs", *NAMES[:2]))
    whole = paths[1][1].read_bytes()
    paths[1][1].write_bytes(b"")

    def gather() -> sources.Gathered:
        once = resumed(serial, tmp_path / "work", "one")
        return sources.gather(paths, source(on_bad_image="skip"), mapped=once)

    assert list(gather().skipped) == ["b.png"]
    paths[1][1].write_bytes(whole)
    assert list(gather().photographs) == ["a", "b"]


def test_data_sets_of_killed_runs_have_the_same_bytes(tmp_path: Path) -> None:
    """Killed while photographs are read, prepared and degraded, each once."""
    paths = sources.listed(source(), folder(tmp_path, *NAMES))

    def make(work: Path, mapped: Callable[..., Iterator[Any]]) -> None:
        once = resumed(mapped, work, "key")
        found = sources.gather(paths, source(), mapped=once, keep=work / "pixels").photographs
        prepare(work / "sets" / "train", found, [1, 2], mapped=once, resumes=True)
        recipe = test_sets.Recipe(2, test_sets.kernels_of_tests(9), Corruption(noise=0.01, jpeg=0), 1, ["photographs"])
        test_sets.write(
            work / "sets" / "test", {name: each.source for name, each in found.items()}, recipe, mapped=once
        )

    make(tmp_path / "whole", threads(2))
    for part in ("reading", "preparing", "degrading"):

        def mapped(function: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
            return (killed_after(2) if title.startswith(part) else serial)(function, items, title)  # noqa: B023

        with pytest.raises(Killed):
            make(tmp_path / "killed", mapped)
    for _ in "killed", "killed after they were handed over":
        make(tmp_path / "killed", threads(2))
        hand_over(tmp_path / "killed" / "sets", tmp_path / "data")
    whole, killed = contents(tmp_path / "whole" / "sets"), contents(tmp_path / "data")
    assert whole == killed
    forget(tmp_path / "killed")
    for path in (tmp_path / "killed" / "sets").rglob("*.png"):  # killed while the folder was removed
        path.unlink()
    make(tmp_path / "killed", threads(2))
    assert contents(tmp_path / "killed" / "sets") == whole
    assert {path.parts[0] for path in whole} == {"train", "test"}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
