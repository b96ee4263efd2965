"""Where photographs come from, and which of them can be used."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.data import download, near_duplicates, unpack
from srfoundry.data.resuming import settle
from srfoundry.data.settings import Archive, Source
from srfoundry.imaging import decoded, decoding, images

LONGEST = 250  # bytes of a name, to which .png is added: file systems take 255


@dataclass(frozen=True)
class Photograph:
    """A file that was decoded whole: its size in pixels and its perceptual hash (64 hex digits).

    Attributes:
        kept: the file of its decoded pixels (`imaging.decoded`), where they were to be kept.
    """

    path: Path
    height: int
    width: int
    likeness: str
    kept: Path | None = None

    @property
    def source(self) -> Path:
        """The quickest file to read its pixels from."""
        return self.kept or self.path


@dataclass(frozen=True)
class Gathered:
    """The usable photographs by name, and why the others, named as shown, were left out."""

    photographs: dict[str, Photograph]
    skipped: dict[str, str]


def listed(wanted: Source, root: Path) -> list[tuple[str, Path]]:
    """List the files of a source, each with the name to show for it, such as b/a.png, in a stable order.

    Args:
        wanted: the source.
        root: folder of the project; archives and what was in them are kept in its `downloads`.

    Raises:
        FoundryError: there is no photograph, or an archive cannot be fetched or unpacked.
    """
    if wanted.source == "bundled":
        return [(path.stem, path) for path in images.bundled()]
    if wanted.source == "folder":
        folder = root / wanted.folder
        return [(path.relative_to(folder).as_posix(), path) for path in pictures(folder)]
    return _archived(wanted.archives, root / "downloads")


def pictures(folder: Path) -> list[Path]:
    """List the pictures below a folder, those of kinds that are not read too: whoever put them there expects them used.

    Raises:
        FoundryError: the folder is missing or holds no picture that can be read; names the kinds that are there.
    """
    listed = decoding.walk(folder)
    found = [path for path in listed if path.suffix.lower() in decoding.SUFFIXES | decoding.UNREAD]
    if not any(path.suffix.lower() in decoding.SUFFIXES for path in found):
        there = f" (but {kinds}, which are not read)" if (kinds := unread(found)) else ""
        suffixes = " ".join(sorted(decoding.SUFFIXES))
        raise FoundryError(f"{folder} holds no photograph{there}; put files there that end in {suffixes}")
    return found


def unread(paths: Iterable[Path]) -> str:
    """How many of these pictures are of which kinds that are not read, such as "2 .gif, 1 .heic"; empty for none."""
    kinds = Counter(path.suffix.lower() for path in paths if path.suffix.lower() in decoding.UNREAD)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _archived(archives: Sequence[Archive], cache: Path) -> list[tuple[str, Path]]:
    if not archives:
        raise FoundryError("synthesize.source is archives, got none in synthesize.archives; give address and checksum")
    found: list[tuple[str, Path]] = []
    stems: dict[str, str] = {}
    for one in archives:
        archive = download.fetch(one.url, one.checksum, cache)
        stem = re.sub(r"(\.tar)?\.\w+$", "", archive.name)
        if stem in stems:
            raise FoundryError(
                f"{stems[stem]} and {one.url} would both be called {stem}; rename one and give its file:// address"
            )
        stems[stem] = one.url
        inside = unpack.extract(archive, cache)
        for path in pictures(inside):
            parts = path.relative_to(inside).parts
            parts = parts[1:] if parts[0] == stem and len(parts) > 1 else parts  # many archives hold one such folder
            found.append((PurePosixPath(stem, *parts).as_posix(), path))
    return found


def gather(paths: Sequence[tuple[str, Path]], wanted: Source, *, mapped: Map, keep: Path | None = None) -> Gathered:
    """Decode every photograph once, so that a bad one shows before any work is done.

    Args:
        paths: the name to show, such as b/a.png, and the file.
        wanted: what becomes of a bad image, and the smallest that is taken.
        mapped: how to go through the files; the result is the same for any.
        keep: folder for the pixels, which whoever needs them again then maps: three bytes a pixel. None keeps none.

    Raises:
        FoundryError: no photograph, two of one name, one that cannot be used where that stops, or no room on the disk.
    """
    photographs: dict[str, Photograph] = {}
    skipped: dict[str, str] = {}
    items = [(path, keep and (keep / f"{number}{decoded.SUFFIX}").absolute()) for number, (_, path) in enumerate(paths)]
    seen = mapped(partial(_examine, smallest=wanted.smallest), items, "reading photographs")
    for (shown, path), (_, kept), found in zip(paths, items, seen, strict=True):
        found = _nameless(shown) or found
        if isinstance(found, str):
            if wanted.on_bad_image == "stop":
                raise FoundryError(f"{found} (or set synthesize.on_bad_image to skip)")
            readable = shown if shown.isprintable() else ascii(shown)
            skipped[readable] = found.replace(str(path), readable)
            continue
        name = named(shown)
        if name in photographs:
            raise FoundryError(
                f"two photographs would be called {name}: {photographs[name].path} and {path}; rename one"
            )
        photographs[name] = Photograph(path, **found, kept=kept)
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


def _examine(item: tuple[Path, Path | None], smallest: int) -> dict[str, Any] | str:
    """Return a photograph's size and hash, or why it cannot be used: words, for an error would stop the others."""
    path, kept = item
    if path.suffix.lower() in decoding.UNREAD:
        return f"{path} is of a kind that is not read; save it as PNG or JPEG, or remove it"
    try:
        levels = decoded.read(path)
    except FoundryError as error:
        return str(error)
    height, width = levels.shape[:2]
    if min(height, width) < smallest:
        return f"{path} is {width}x{height}, smaller than synthesize.smallest {smallest}; remove it or lower that"
    if kept is not None:
        try:
            decoded.keep(levels, kept)
            settle(kept)
        except OSError as error:
            raise FoundryError(
                f"the pixels of {path} cannot be kept in {kept.parent} ({error.strerror or error}); make room: "
                "photographs take three bytes a pixel there until they are prepared"
            ) from None
    return {"height": height, "width": width, "likeness": near_duplicates.hash_of(levels)}
