"""Where photographs come from, which of them can be used, and which side of the split each falls on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srfoundry import images
from srfoundry.errors import FoundryError
from srfoundry.progress import track
from srfoundry.seeds import derive

SPLITS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class Gathered:
    """The usable photographs by name, and why the others were left out."""

    photographs: dict[str, Path]
    skipped: dict[str, str]


def gather(
    source: Literal["bundled", "folder"], folder: Path, *, smallest: int, on_bad_image: Literal["stop", "skip"]
) -> Gathered:
    """List and decode every photograph once, so that a bad one shows before any work is done.

    Args:
        smallest: pixels that the shorter side must have.
        on_bad_image: `stop` at the first that cannot be used, or `skip` it and say so in the result.

    Raises:
        FoundryError: no photograph, two of one name, or one that cannot be used where that stops.
    """
    paths = images.bundled() if source == "bundled" else images.find(folder)
    photographs: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for path in track(paths, "reading photographs"):
        shown = path.stem if source == "bundled" else path.relative_to(folder).as_posix()
        try:
            height, width = images.read(path).shape[-2:]
            if min(height, width) < smallest:
                raise FoundryError(
                    f"{path} is {width}x{height}, smaller than synthesize.smallest {smallest}; remove it or lower that"
                )
        except FoundryError as error:
            if on_bad_image == "stop":
                raise FoundryError(f"{error} (or set synthesize.on_bad_image to skip)") from None
            skipped[shown] = str(error).replace(str(path), shown)
            continue
        name = Path(shown).with_suffix("").as_posix().replace("/", "__")
        if name in photographs:
            raise FoundryError(f"two photographs would be called {name}: {photographs[name]} and {path}; rename one")
        photographs[name] = path
    if not photographs:
        raise FoundryError(f"none of {len(paths)} files in {folder} can be used; first: {next(iter(skipped.values()))}")
    return Gathered(photographs, skipped)


def split(
    names: Sequence[str], *, held_out: Sequence[str] | float, validation: Sequence[str] | float, seed: int
) -> dict[str, list[str]]:
    """Deal photographs into train, validation and held_out; views of one scene stay together.

    Args:
        held_out, validation: names, or a share in (0, 1) of the scenes, drawn by a hash of seed and name, so that a new
            photograph moves no other.

    Raises:
        FoundryError: a name is unknown or dealt twice, or nothing is left to train on.
    """
    wanted = {"held_out": held_out, "validation": validation}
    dealt: dict[str, list[str]] = {}
    free = sorted(names)
    for part, choice in wanted.items():
        if isinstance(choice, (int, float)):
            scenes = sorted({_scene(name) for name in free}, key=lambda scene: derive(seed, "split", scene))
            taken = set(scenes[: max(1, math.floor(choice * len({_scene(name) for name in names})))])
        else:
            for name in choice:
                if name not in names:
                    raise FoundryError(
                        f"synthesize.{part} names {name!r}, which is not among the {len(names)} photographs; "
                        "name files without suffix, or give a share such as 0.1"
                    )
            taken = {_scene(name) for name in choice}
        dealt[part] = [name for name in free if _scene(name) in taken]
        free = [name for name in free if _scene(name) not in taken]
        if not dealt[part]:
            raise FoundryError(f"no photograph is left for synthesize.{part}; name others than the other parts do")
    if not free:
        raise FoundryError(f"no photograph is left to train on, of {len(names)}; add some or hold out fewer")
    return {"train": free, **dealt}


def _scene(name: str) -> str:
    return images.SCENES.get(name, name)
