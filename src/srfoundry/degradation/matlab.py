"""Arrays from MATLAB files, read in a process of their own: scipy's reader can crash on damaged bytes."""

import io
import resource
import signal
import subprocess
import sys
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 8  # seconds of processor time; a kernel takes one to read, a hundred thousand two
WAITING = 120  # seconds in all, on a machine with other work
LARGEST = 2**26  # numbers of all arrays of a file
ROOM = 2**30  # bytes that the reading process may take beside its libraries


def arrays(path: Path) -> dict[str, Any]:
    """Return a file's numeric arrays by name, those in a cell array as NAME0, NAME1, ...

    Raises:
        ValueError: the file is no MATLAB file that can be read; says why.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        done = subprocess.run([sys.executable, "-m", __name__, path], capture_output=True, timeout=WAITING, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError("reading it does not end") from None
    if done.returncode:
        if done.returncode == -signal.SIGXCPU:
            raise ValueError("reading it does not end")
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(said[-1] if done.returncode == 1 and said else "it crashes MATLAB's reader")
    loaded = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return {name: loaded[name] for name in loaded.files}


def _numeric(path: str) -> dict[str, Any]:
    from scipy.io import loadmat, whosmat

    claimed = sum(prod(shape) for _, shape, kind in whosmat(path, appendmat=False) if kind != "cell")
    if claimed > LARGEST:
        raise ValueError(f"its arrays have {claimed:,} numbers, {LARGEST:,} are the most")

    found: dict[str, Any] = {}
    for name, value in loadmat(path, appendmat=False).items():
        if name.startswith("__") or not isinstance(value, np.ndarray):
            continue
        if value.dtype == object:  # a cell array, as in KAIR's kernels_12.mat
            cells = [cell for cell in value.ravel() if isinstance(cell, np.ndarray) and cell.dtype.kind in "fiu"]
            found |= {f"{name}{index}": cell for index, cell in enumerate(cells)}
        elif value.dtype.kind in "fiu":
            found[name] = value
    return found


def _limit() -> None:
    """Bound what a damaged file, or one that unpacks to far more than its size, may cost."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    room = taken + ROOM if most == resource.RLIM_INFINITY else min(taken + ROOM, most)
    resource.setrlimit(resource.RLIMIT_AS, (room, most))
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    import_module("scipy.io")  # before the limit
    if sys.platform == "linux":
        _limit()
    packed = io.BytesIO()
    try:
        np.savez(packed, **_numeric(sys.argv[1]))
    except NotImplementedError:
        sys.exit("MATLAB 7.3; save it with -v7")
    except MemoryError:
        sys.exit(f"its arrays take more than {ROOM:,} bytes")
    sys.stdout.buffer.write(packed.getvalue())
