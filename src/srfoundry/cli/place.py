"""What the options of the command line say of results: where they go, and what becomes of those that are there."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srfoundry.core.errors import FoundryError

Existing = Literal["refuse", "overwrite", "skip"]


@dataclass(frozen=True)
class Place:
    """What --out says: a file or a folder.

    Attributes:
        path: of it; it need not be there.
        folder: whether it is a folder, where the path alone does not show it.
    """

    path: Path
    folder: bool = False

    @classmethod
    def of(cls, text: str) -> "Place":
        """A folder where the text ends in a slash, names one, or has no ending as files have."""
        return cls(Path(text), text.endswith(("/", os.sep)) or os.path.isdir(text) or not Path(text).suffix)


def check_nothing_lost(folder: Path, strange: Collection[str]) -> None:
    """Refuse to replace a folder that holds what its maker does not write.

    Args:
        folder: that would be replaced.
        strange: names in it that are not its maker's.

    Raises:
        FoundryError: there are some.
    """
    if strange:
        named = ", ".join(sorted(strange)[:5])
        raise FoundryError(f"{folder} holds other things ({named}), which would be lost; name a new folder with --out")


def check_apart(folder: Path) -> None:
    """Refuse a folder whose place a new one cannot take: the present one, or one around it.

    Raises:
        FoundryError: it is.
    """
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise FoundryError(f"{folder} is the present folder or one around it; name another folder with --out")
