"""What DVC's cache holds, held against its names: DVC takes an object that is write-protected for what its name says.

A file that was written into in place, as root may, is one with its object where both are hard links. Its stage was then
`cached` for good, and gave the damaged file out again, even after it had run anew.
"""

import json
import re
from pathlib import Path

from pipelines.support.inputs import contents, known_files
from pipelines.support.program import say
from srfoundry.core.atomic import write_bytes

OBJECTS, KNOWN = ".dvc/cache/files/md5", Path(".ckpt/cache.json")
MD5 = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")


def check(root: Path) -> None:
    """Remove every object whose bytes are not those that it is named after, and say so; its stage runs again.

    What has not changed since it was looked at is not read again. What cannot be read now, as on a network's volume
    that fails for a moment, is named and stays: nothing says that it is damaged.

    Args:
        root: of the project, whose own cache is looked at; a shared one is its owner's.
    """
    folder, seen = root / OBJECTS, {}
    objects = [path for path in folder.glob("??/*") if NAME.fullmatch(path.relative_to(folder).as_posix())]
    unread = list[str]()
    for name, digest in contents(folder, objects, known_files(root / KNOWN), seen).items():
        if not MD5.fullmatch(digest):
            unread.append(f"{name} ({digest})")
        elif digest != name.replace("/", "").removesuffix(".dir"):
            (folder / name).unlink(missing_ok=True)
            say(f"DVC's cache held damaged bytes as {name}; they are removed, and what they belong to is made again")
    if unread:
        more = f" and {len(unread) - 1} more" if unread[1:] else ""
        say(f"DVC's cache: {unread[0]}{more} could not be checked and stays; see that {folder} can be read")
    write_bytes(root / KNOWN, json.dumps(seen).encode())
