"""Progress for people: a bar with rate and time left on a terminal, a line now and then in a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def bar(title: str, total: int | None, start: int = 0) -> "tqdm[NoReturn]":
    """Return a tqdm bar (a context manager with `.update(n)` and `.set_postfix(...)`) that starts at `start`."""
    live = sys.stderr.isatty()
    interval = 0.2 if live else 15.0  # a log file wants few lines
    return tqdm(desc=title, total=total, initial=start, mininterval=interval, dynamic_ncols=live, leave=True)


def track(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items under a bar."""
    count = total if total is not None else len(items) if hasattr(items, "__len__") else None  # pyright: ignore[reportArgumentType]
    with bar(title, count) as progress:
        for item in items:
            yield item
            progress.update(1)
