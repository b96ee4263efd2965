"""Where a server's models come from: a folder of files, or the aliases of a registered model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from srfoundry.core.errors import FoundryError
from srfoundry.runtime import pulling

CHALLENGER = "challenger"  # end of the aliases of versions that did not become the best of their kind
DISCOVERY = 30  # looks at where aliases point, for each look at which there are


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
    if not models.startswith(pulling.PREFIX):
        return Folder(Path(models))
    name, _, alias = models.removeprefix(pulling.PREFIX).partition("@")
    if not name or "/" in name:
        raise FoundryError(f"--models takes a folder, models:/NAME or models:/NAME@ALIAS, got {models}; name one")
    return Registry(name, alias)


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


class Registry:
    """The versions that a registered model's aliases point to; members are named by their aliases.

    Which aliases there are is looked up now and then, where they point to each time: that takes milliseconds.

    Args:
        name: of the registered model.
        alias: the only one that is served; all but challengers if empty.
    """

    def __init__(self, name: str, alias: str = "") -> None:
        self.name, self.alias = name, alias
        self._looks = 0
        self._aliases: list[str] = [alias] if alias else []
        self._versions: dict[Offer, pulling.Version] = {}

    @property
    def shown(self) -> str:
        """See `Source`."""
        return f"{pulling.PREFIX}{self.name}" + (f"@{self.alias}" if self.alias else "")

    def offers(self) -> list[Offer]:
        """See `Source`."""
        if not self.alias and self._looks % DISCOVERY == 0:
            self._aliases = self._discovered()
        self._looks += 1
        found: dict[str, pulling.Version] = {}
        for alias in self._aliases:
            try:
                found[alias] = pulling.find(f"{pulling.PREFIX}{self.name}@{alias}")
            except pulling.Missing:  # deleted since the last look at which there are
                if self.alias:
                    raise
        if not found:
            raise self._nothing()
        self._versions = {Offer(alias, alias, version.number): version for alias, version in found.items()}
        return list(self._versions)

    def fetch(self, offer: Offer) -> bytes:
        """See `Source`."""
        return pulling.fetch(self._versions[offer])

    def _discovered(self) -> list[str]:
        kept = [alias for alias in pulling.aliases(self.name) if not alias.endswith(CHALLENGER)]
        if not kept:
            raise self._nothing()
        return kept

    def _nothing(self) -> FoundryError:
        return FoundryError(f"{self.shown} has no alias that could be served; register one: srfoundry register")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FoundryError(f"cannot read {path}: {error.strerror}; restore it") from None


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()[:12]
