"""Where photographs come from, which of them can be used, and which side of the split each falls on."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.core.seeds import derive
from srfoundry.data import download, near_duplicates, unpack
from srfoundry.imaging import images

SPLITS = ("train", "validation", "held_out")
LONGEST = 250  # bytes of a name, to which .png is added: file systems take 255


@dataclass(frozen=True)
class Photograph:
    """A file that was decoded whole: its size in pixels and its perceptual hash (64 hex digits)."""

    path: Path
    height: int
    width: int
    likeness: str


@dataclass(frozen=True)
class Gathered:
    """The usable photographs by name, and why the others, named as shown, were left out."""

    photographs: dict[str, Photograph]
    skipped: dict[str, str]


def listed(
    source: Literal["bundled", "folder", "archives"], folder: Path, archives: Sequence[tuple[str, str]], cache: Path
) -> list[tuple[str, Path]]:
    """List the files of a source, each with the name to show for it, in a stable order.

    Args:
        folder: of the photographs, for `folder`.
        archives: address (or path) and checksum of each, for `archives`, as `download.fetch` takes them.
        cache: folder to keep archives and what was in them.

    Raises:
        FoundryError: there is no photograph, or an archive cannot be fetched or unpacked.
    """
    if source == "bundled":
        return [(path.stem, path) for path in images.bundled()]
    if source == "folder":
        return [(path.relative_to(folder).as_posix(), path) for path in images.find(folder)]
    if not archives:
        raise FoundryError("synthesize.source is archives, got none in synthesize.archives; give address and checksum")
    found: list[tuple[str, Path]] = []
    stems: dict[str, str] = {}
    for url, checksum in archives:
        archive = download.fetch(url, checksum, cache)
        stem = re.sub(r"(\.tar)?\.\w+$", "", archive.name)
        if stem in stems:
            raise FoundryError(
                f"{stems[stem]} and {url} would both be called {stem}; rename one and give its file:// address"
            )
        stems[stem] = url
        inside = unpack.extract(archive, cache)
        for path in images.find(inside):
            parts = path.relative_to(inside).parts
            parts = parts[1:] if parts[0] == stem and len(parts) > 1 else parts  # many archives hold one such folder
            found.append((PurePosixPath(stem, *parts).as_posix(), path))
    return found


def gather(
    paths: Sequence[tuple[str, Path]], *, smallest: int, on_bad_image: Literal["stop", "skip"], mapped: Map
) -> Gathered:
    """Decode every photograph once, so that a bad one shows before any work is done.

    Args:
        paths: the name to show, such as b/a.png, and the file.
        smallest: pixels that the shorter side must have.
        on_bad_image: `stop` at the first that cannot be used, or `skip` it and say so in the result.
        mapped: how to go through the files; the result is the same for any.

    Raises:
        FoundryError: no photograph, two of one name, or one that cannot be used where that stops.
    """
    photographs: dict[str, Photograph] = {}
    skipped: dict[str, str] = {}
    seen = mapped(partial(_examine, smallest=smallest), [path for _, path in paths], "reading photographs")
    for (shown, path), found in zip(paths, seen, strict=True):
        found = _nameless(shown) or found
        if isinstance(found, str):
            if on_bad_image == "stop":
                raise FoundryError(f"{found} (or set synthesize.on_bad_image to skip)")
            readable = shown if shown.isprintable() else ascii(shown)
            skipped[readable] = found.replace(str(path), readable)
            continue
        name = named(shown)
        if name in photographs:
            raise FoundryError(
                f"two photographs would be called {name}: {photographs[name].path} and {path}; rename one"
            )
        photographs[name] = found
    if not photographs:
        first = next(iter(skipped.values()), "there is no file")
        raise FoundryError(f"none of {len(paths)} photographs can be used; first: {first}")
    return Gathered(photographs, skipped)


def named(shown: str) -> str:
    """Turn the name to show, such as b/a.png, into the photograph's, b__a."""
    return PurePosixPath(shown).with_suffix("").as_posix().replace("/", "__")


def _nameless(shown: str) -> str | None:
    """Say why no file can be called after a photograph, if so."""
    if not shown.isprintable():  # bytes that are no text, or control characters
        return f"{ascii(shown)} is no plain name; rename it"
    if len(named(shown).encode()) > LONGEST:
        return f"{shown} has a name of more than {LONGEST} bytes, folders included; shorten it"
    return None


def _examine(path: Path, smallest: int) -> Photograph | str:
    """Return what is known of a photograph, or why it cannot be used: words, for an error would stop the others."""
    try:
        image = images.read(path)
    except FoundryError as error:
        return str(error)
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        return f"{path} is {width}x{height}, smaller than synthesize.smallest {smallest}; remove it or lower that"
    return Photograph(path, height, width, near_duplicates.hash_of(image))


def scenes(photographs: Mapping[str, Photograph]) -> dict[str, str]:
    """Give every photograph its scene: near-duplicates share one, as do the known views of one (`images.SCENES`).

    A scene is called after its first member; known ones keep their name unless a copy's comes before it.
    """
    scene = {name: images.SCENES.get(name, name) for name in sorted(photographs)}
    for group in near_duplicates.groups({name: one.likeness for name, one in photographs.items()}):
        merged = {scene[name] for name in group}
        if len(merged) > 1:
            scene = {name: min(merged) if label in merged else label for name, label in scene.items()}
    return scene


def together(scenes: Mapping[str, str]) -> list[list[str]]:
    """List the groups of names that share a scene, and so a side of the split."""
    groups: dict[str, list[str]] = {}
    for name, scene in scenes.items():
        groups.setdefault(scene, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def split(
    names: Sequence[str],
    *,
    held_out: Sequence[str] | float,
    validation: Sequence[str] | float,
    seed: int,
    scenes: Mapping[str, str] = images.SCENES,
) -> dict[str, list[str]]:
    """Deal photographs into train, validation and held_out; those of one scene stay together.

    Args:
        held_out, validation: names, or a share in (0, 1) of the scenes: those whose hash of seed and name lies within
            it, so that a new photograph moves no other. About so many, then, and at least one.
        scenes: scene of each name; one that is not there is a scene of its own.

    Raises:
        FoundryError: a name is unknown, two names put a scene on two sides, or nothing is left to train on.
    """
    wanted = {"held_out": held_out, "validation": validation}
    scene = {name: scenes.get(name, name) for name in names}
    _check_names(wanted, scene)
    dealt: dict[str, list[str]] = {}
    free = sorted(names)
    start = 0.0
    for part, choice in wanted.items():
        if isinstance(choice, (int, float)):
            taken = _drawn({scene[name] for name in free}, start, choice, seed)
            start += choice
        else:
            taken = {scene[name] for name in choice}
        dealt[part] = [name for name in free if scene[name] in taken]
        free = [name for name in free if scene[name] not in taken]
        if not dealt[part]:
            raise FoundryError(f"no photograph is left for synthesize.{part}; name others than the other parts do")
    if not free:
        raise FoundryError(f"no photograph is left to train on, of {len(names)}; add some or hold out fewer")
    return {"train": free, **dealt}


def check_names(
    paths: Sequence[tuple[str, Path]], *, held_out: Sequence[str] | float, validation: Sequence[str] | float
) -> None:
    """Raise FoundryError where a part names what is not listed: before the files are read, which takes long."""
    _check_names({"held_out": held_out, "validation": validation}, {named(shown): named(shown) for shown, _ in paths})


def _drawn(labels: Set[str], start: float, share: float, seed: int) -> set[str]:
    """Scenes whose place in [0, 1) lies within the share that begins at `start`, or else the one that comes next."""
    place = {label: derive(seed, "split", label) / 2**63 for label in labels}
    inside = {label for label in labels if start <= place[label] < start + share}
    return inside or set(sorted(labels, key=lambda label: (place[label] - start) % 1.0)[:1])


def _check_names(wanted: Mapping[str, Sequence[str] | float], scene: Mapping[str, str]) -> None:
    """Raise FoundryError where a part names a photograph that is not there, or a scene that another part names."""
    placed: dict[str, tuple[str, str]] = {}
    for part, choice in wanted.items():
        for name in [] if isinstance(choice, (int, float)) else choice:
            if name not in scene:
                raise FoundryError(
                    f"synthesize.{part} names {name!r}, which is not among the {len(scene)} photographs; "
                    "name files without suffix, or give a share such as 0.1"
                )
            other, first = placed.setdefault(scene[name], (part, name))
            if other != part and first == name:
                raise FoundryError(f"synthesize.{other} and synthesize.{part} both name {name!r}; take it out of one")
            if other != part:
                raise FoundryError(
                    f"synthesize.{other} names {first!r} and synthesize.{part} names {name!r}, which are "
                    "near-duplicates or views of one scene; name both in one part, or remove one of the files"
                )
