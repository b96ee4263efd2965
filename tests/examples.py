"""The worked examples of docs/extending.md, added to a copy of the repository as they stand there."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPO

BLOCK = re.compile(r"^```(?:python|yaml) (file|into)=(\S+)(?: after=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block of code: a new `file`, or lines `into` one, behind the line that begins with `after`, or at its end."""

    how: str
    path: str
    after: str
    text: str

    def add(self, root: Path) -> None:
        """Write it into a copy of the repository, unless it was pasted already into what was copied."""
        target = root / self.path
        if target.exists() and self.text in target.read_text():
            return
        if self.how == "file":
            assert not target.exists(), target
            target.write_text(self.text)
            return
        lines = target.read_text().splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if self.after and line.lstrip().startswith(self.after)]
        place = places[-1] + 1 if self.after else len(lines)
        spaced = self.text if self.after or self.path.endswith("dvc.yaml") else f"\n\n{self.text}"
        target.write_text("".join([*lines[:place], spaced, *lines[place:]]))


def examples() -> list[Example]:
    """All of them, in their order."""
    return [Example(*found) for found in BLOCK.findall((REPO / "docs" / "extending.md").read_text())]
