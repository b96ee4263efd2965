"""Folders of photographs, and the settings that read them, for the tests of the data."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from srfoundry.data.settings import Source

Item = TypeVar("Item")
Result = TypeVar("Result")


def serial(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
    return map(function, items)


def folder(path: Path, *names: str, size: int = 40) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((size, size), 90).save(path / name)
    return path


def source(kind: str = "folder", **more: Any) -> Source:
    """The whole folder that it is read from, small photographs too; the first bad image stops."""
    values: dict[str, Any] = {"folder": ".", "archives": [], "on_bad_image": "stop", "smallest": 32}
    return Source(source=kind, **(values | more))  # pyright: ignore[reportArgumentType]
