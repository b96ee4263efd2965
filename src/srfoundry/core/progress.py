"""Progress for people: a bar with rate and time left on a terminal, a line now and then in a log file.

tqdm is imported with the first bar: a small image is enlarged before one would be drawn.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from srfoundry.core.ranks import rank

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")


def bar(title: str, total: int | None, start: int = 0) -> "tqdm[NoReturn]":
    """Return a tqdm bar (a context manager with `.update(n)` and `.set_postfix(...)`) that starts at `start`.

    Of processes that work together the first one's is drawn.
    """
    from tqdm import tqdm

    live = sys.stderr.isatty()
    interval = 0.2 if live else 15.0  # few lines in a log file
    return tqdm(desc=title, total=total, initial=start, mininterval=interval, dynamic_ncols=live, disable=rank() != 0)


def track(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items under a bar."""
    count = total if total is not None else len(items) if hasattr(items, "__len__") else None  # pyright: ignore[reportArgumentType]
    with bar(title, count) as progress:
        for item in items:
            yield item
            progress.update(1)


def end() -> None:
    """Close the bars that still stand where an error has interrupted them: what is said next has its own line."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for one in list(getattr(tqdm, "_instances", ())):
            one.close()


def above(line: str, stream: Any) -> None:
    """Write a line above the bars, if there are any; they are not drawn again where the line is not in their way."""
    if "tqdm" in sys.modules and (stream is sys.stderr or sys.stderr.isatty()):
        from tqdm import tqdm

        tqdm.write(line, file=stream)
    else:
        stream.write(line + "\n")


class Bars:
    """Bars of one image's work: called with a title, it gives what moves a bar to (done, in all).

    A bar comes with the first such call and ends with the last, or with the work; one step in all has none.
    """

    def __init__(self) -> None:
        self._bars: list[Any] = []

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        for one in self._bars:
            one.close()

    def __call__(self, title: str) -> Callable[[int, int], None]:
        made: list[Any] = []

        def tick(done: int, total: int) -> None:
            if total == 1:
                return
            if not made:
                made.append(bar(title, total))
                self._bars.append(made[0])
            made[0].update(done - made[0].n)
            if done == total:
                made[0].close()

        return tick
