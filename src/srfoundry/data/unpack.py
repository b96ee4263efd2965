"""Archives of photographs, unpacked whole or not at all, and never beyond their folder.

An unpacking grows in a hidden folder that is renamed when it is complete; one that was killed starts over.
"""

import errno
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial as later
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import Any

from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import track
from srfoundry.data.download import disk, key, lock
from srfoundry.imaging.decoding import SUFFIXES

BLOCK = 1 << 20
BOMB_RATIO, BOMB_FLOOR = 200, 10**9  # photographs hardly shrink: more than both is no archive of photographs
# A member twice, below a file, with a name that no file can have; a place before the archive's beginning.
ARCHIVES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)
LEAST = 4096  # bytes that a member counts at least: a file takes a block of the disk
Member = tuple[str, int, Callable[[], Any]]  # path inside, bytes it says it has, how to open it


def extract(archive: Path, folder: Path) -> Path:
    """Unpack the photographs of a zip or tar (plain, gz, xz, bz2) into `folder/NAME-KEY` and return that folder.

    KEY is of the checksum (or of size and time): an archive that changed is unpacked anew, one that did not is not.
    Links, devices, hidden files and whatever is no photograph stay out.

    Raises:
        FoundryError: the archive is damaged, encrypted or holds no photograph; a member would leave the folder, is
            there twice, or is not as long as it says; they make over 200 times the archive's size and over 1 GB.
    """
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{archive.name}-{key(archive, folder)}"
        partial = folder / f".{target.name}.part"
        with lock(folder, archive.name):
            if target.is_dir():
                return target
            shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
            try:
                _unpack(archive, partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with ExitStack() as stack:
            members = list(_members(archive, stack))
            total = sum(max(size, LEAST) for _, size, _ in members)
            if total > max(BOMB_RATIO * archive.stat().st_size, BOMB_FLOOR):
                raise FoundryError(
                    f"{archive} would unpack to {total / 1e9:.1f} GB; look at what it is before you use it"
                )
            if not members:
                raise FoundryError(f"{archive} holds no photograph; give an archive of {' '.join(sorted(SUFFIXES))}")
            for name, size, opened in track(members, f"unpacking {archive.name}"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / name).open("xb") as file:
                    _copy(opened(), file, size, name)
    except FoundryError:
        raise
    except Exception as error:  # zipfile and tarfile answer damaged lists with whatever Python raised in them
        if isinstance(error, OSError) and error.errno and error.errno not in ARCHIVES:
            raise  # the disk's fault: bz2 and gzip raise OSError without a number
        raise FoundryError(f"{archive} cannot be unpacked ({error}); put a good copy there, or remove it") from None


def _members(archive: Path, stack: ExitStack) -> Iterator[Member]:
    """Yield the photographs among the regular files; `stack` closes the archive."""
    if tarfile.is_tarfile(archive):
        tar = stack.enter_context(tarfile.open(archive))
        found: list[Member] = [(info.name, info.size, later(tar.extractfile, info)) for info in tar if info.isreg()]
    elif zipfile.is_zipfile(archive):
        file = stack.enter_context(zipfile.ZipFile(archive))
        regular = [one for one in file.infolist() if stat.S_IFMT(one.external_attr >> 16) in (0, stat.S_IFREG)]
        found = [(one.filename, one.file_size, later(file.open, one)) for one in regular if not one.is_dir()]
    else:
        raise ValueError("it is no whole zip or tar")
    for name, size, opened in found:
        path = PurePosixPath(name.replace("\\", "/"))  # some programs on Windows write these
        if path.is_absolute() or ".." in path.parts:
            raise FoundryError(f"{archive} holds {name!r}, which leaves the folder; do not trust it")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)  # macOS: ._a.png is no picture
        if path.suffix.lower() in SUFFIXES and not hidden:
            yield path.as_posix(), size, opened


def _copy(source: BufferedIOBase, file: BufferedIOBase, size: int, name: str) -> None:
    with source:
        while size >= 0 and (block := source.read(min(BLOCK, size + 1))):
            size -= len(block)
            file.write(block)
    if size:
        raise ValueError(f"{name!r} is not as long as it says")
