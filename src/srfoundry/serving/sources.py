"""Where a server's models come from: a folder of files, or the aliases of a registered model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from srfoundry.core.errors import FoundryError


@dataclass(frozen=True)
class Offer:
    """A version that a source has under a member's name."""

    name: str
    alias: str | None
    version: str


@runtime_checkable  # for the shape checks of the tests
class Source(Protocol):
    """Says what there is, at little cost, and fetches it."""

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        ...

    def offers(self) -> list[Offer]:
        """What there is now.

        Raises:
            FoundryError: it cannot be reached, or has nothing.
        """
        ...

    def fetch(self, offer: Offer) -> bytes:
        """The .onnx file.

        Raises:
            FoundryError: it is gone.
        """
        ...


def source(models: str) -> Source:
    """The source that an address names: a folder, or models:/NAME, models:/NAME@ALIAS.

    Raises:
        FoundryError: it names neither.
    """
    if models.startswith("models:/"):
        raise FoundryError(f"--models takes a folder, got {models}; name one")
    return Folder(Path(models))


class Folder:
    """The .onnx files of a folder, named by their stems; their version is a digest of their bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[Path, tuple[tuple[int, int, int], str]] = {}

    @property
    def shown(self) -> str:
        """See `Source`."""
        return str(self.folder)

    def offers(self) -> list[Offer]:
        """See `Source`; a file is read again where its size or its times changed."""
        found = sorted(path for path in self.folder.glob("*.onnx") if path.is_file())
        if not found:
            raise FoundryError(f"{self.folder} holds no .onnx file; run `make repro`, or name a folder with --models")
        return [Offer(path.stem, None, self._digest(path)) for path in found]

    def fetch(self, offer: Offer) -> bytes:
        """See `Source`."""
        path = self.folder / f"{offer.name}.onnx"
        blob = _read(path)
        if _digest(blob) != offer.version:
            raise FoundryError(f"{path} is being written; it is looked at again")
        return blob

    def _digest(self, path: Path) -> str:
        try:
            found = path.stat()
        except OSError as error:
            raise FoundryError(f"cannot read {path}: {error.strerror}; restore it") from None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._digests.get(path)
        if known is None or known[0] != stamp:
            known = self._digests[path] = (stamp, _digest(_read(path)))
        return known[1]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FoundryError(f"cannot read {path}: {error.strerror}; restore it") from None


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()[:12]
