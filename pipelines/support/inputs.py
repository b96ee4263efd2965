"""The user's folders as inputs: lists of what is in them, by content, in files that stages depend on.

DVC does not look into the folders itself: at a link to nothing or a name that is not UTF-8 it ends in an error of its
own, whatever `on_bad_image` says, and at a pipe it waits for ever. So `synthesize` names or skips what cannot be used.
"""

import hashlib
import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.support.program import say
from srfoundry.config.params import Params
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError

FOLDERS = ("photographs", "kernels", "unpaired")  # of inputs/, which git does not hold
EXPERIMENTS = "/.dvc/tmp/exps/"  # where `dvc exp run --temp` and `--queue` put the copy that they run in
BUNDLED = "bundled"  # evaluate.real: photographs inside the installed packages
KNOWN = Path(".ckpt/inputs.json")  # md5s of files that have not moved since: hashing a large folder takes seconds


def write_lists(root: Path, params: Params) -> None:
    """Write results/environment/{photographs,kernels,unpaired,real,unfolded}.json: what stages read of each folder.

    The last is of a network, which a stage beside the graph writes: what it makes is no input within the graph.

    Raises:
        FoundryError: a folder that is to be read is not there, or holds nothing that could be used; names its key.
    """
    from srfoundry.data.sources import pictures
    from srfoundry.degradation import kernel_files

    for name in FOLDERS:
        (root / "inputs" / name).mkdir(parents=True, exist_ok=True)
    source, dual, real = params.synthesize.photographs, params.dual, params.evaluate.real
    folders = {
        "photographs": ("synthesize.folder", root / source.folder, pictures, source.source == "folder"),
        "kernels": ("synthesize.kernels", root / params.synthesize.blur.kernels, kernel_files.find, True),
        "unpaired": ("dual.unpaired", root / dual.unpaired, _with_kernels, dual.unpaired_share > 0),
        "real": ("evaluate.real", root / real, _readable, real != BUNDLED),
        "unfolded": ("estimate.method", root / "models", _unfolded, params.estimate.method == "unfolded"),
    }
    known, seen = known_files(root / KNOWN), dict[str, Any]()
    for name, (key, folder, find, read) in folders.items():
        try:
            found = contents(folder, find(folder), known, seen) if read else {}
        except FoundryError as error:
            added = folder.with_name(f"{folder.name}.dvc")
            if added.is_file() and EXPERIMENTS not in root.absolute().as_posix():
                raise FoundryError(f"{key}: {error}; {added.name} names what belongs there: dvc pull {added}") from None
            if EXPERIMENTS not in root.absolute().as_posix() or root not in folder.parents:
                raise FoundryError(f"{key}: {error}") from None
            path = folder.relative_to(root)
            raise FoundryError(
                f"{path} has nothing in this experiment's copy of the project, for git does not hold it; "
                f"run in the project first: dvc add {path}, or start the experiment with -C {path}"
            ) from None
        text = json.dumps(found, indent=1, sort_keys=True) + "\n"
        write_bytes(root / "results" / "environment" / f"{name}.json", text.encode())
    write_bytes(root / KNOWN, json.dumps(seen).encode())


def _readable(folder: Path) -> list[Path]:
    """The images of a folder; those of kinds that are not read are left out, and a line says so."""
    from srfoundry.data.sources import pictures, unread
    from srfoundry.imaging import decoding

    found = pictures(folder)
    if kinds := unread(found):
        say(f"{folder}: left out: {kinds}, which are not read; save them as PNG or JPEG")
    return [path for path in found if path.suffix.lower() in decoding.SUFFIXES]


def _unfolded(folder: Path) -> list[Path]:
    return list(folder.glob("unfolded.safetensors"))


def _with_kernels(folder: Path) -> list[Path]:
    """The images of a folder, and the kernels that were estimated for them."""
    return [*_readable(folder), *sorted(folder.rglob("*_kernel.npy"))]


def contents(folder: Path, paths: Iterable[Path], known: dict[str, Any], seen: dict[str, Any]) -> dict[str, str]:
    """md5 of each file by its name below the folder, or why there is none.

    Args:
        folder: on which no name depends: the same files are the same list on every machine.
        paths: of the files.
        known: by absolute path size, time of change, number and md5 of files that were read before.
        seen: takes the same of these files.
    """
    found = dict[str, str]()
    for path in paths:
        name, where = path.relative_to(folder).as_posix(), str(path.absolute())
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                found[name] = "no file"
                continue
            mark: list[Any] = [status.st_size, status.st_mtime_ns, status.st_ino]
            if known.get(where, [])[:3] != mark:
                with path.open("rb") as file:
                    mark.append(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest())
            seen[where] = known[where] if len(mark) == 3 else mark
            found[name] = seen[where][3]
        except OSError as error:
            found[name] = f"unreadable: {error.strerror}"
    return found


def known_files(path: Path) -> dict[str, Any]:
    """What `contents` has seen before, as it was kept in a file; nothing where that cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
