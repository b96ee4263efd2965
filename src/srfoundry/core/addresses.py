"""Methods by name without importing them: a table says "module:name", and whoever uses one resolves it."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any


def resolve(address: str) -> Any:
    """What stands at "module:name".

    >>> resolve("math:floor")(2.5)
    2
    """
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def one_of(names: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """A validator of params.yaml: the name itself, if it is among those of a table.

    Args:
        names: gives the table's names; asked each time, for tables grow.
    """

    def check(name: str) -> str:
        known = list(names())
        if name not in known:
            raise ValueError(f"must be one of {', '.join(known)}, got {name!r}")
        return name

    return check
