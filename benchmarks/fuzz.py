"""Readers under a fuzzer that looks at which lines of code its bytes reach (atheris, libFuzzer for Python).

    uv run --with atheris python -m benchmarks.fuzz values --minutes 2      a params file, from params.yaml on
    uv run --with atheris python -m benchmarks.fuzz card                    a .safetensors file
    uv run --with atheris python -m benchmarks.fuzz kernel                  an .npy or .npz file

atheris is no dependency of the project: it exists for few versions of Python. It ends with 0 after so many minutes; at
the first traceback, hang or want of memory it prints it, keeps the bytes beside it as crash-..., and ends with another
status. `python -m benchmarks.hostile` is the larger trial, with damage that knows the formats.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import table
from srfoundry.core.errors import FoundryError

SECONDS, MEGABYTES, LONGEST = 10, 2048, 40_000  # that one input may take, and its bytes
READERS = {"values": "values", "card": "checkpoint", "kernel": "kernel"}  # as `_hostile_reader` names them


def reader(name: str) -> Callable[[Path], object]:
    """What reads such a file: raises a FoundryError of one line where it refuses it."""
    if name == "values":
        from srfoundry.config import params

        return params.load
    if name == "card":
        from srfoundry.networks.zoo import cards

        return cards.load
    from srfoundry.degradation import kernel_files

    return kernel_files.read_all


def corpus(name: str, folder: Path) -> None:
    """Write valid files to begin with."""
    from benchmarks import _hostile_files

    seeds = {"values": _hostile_files.values, "card": _hostile_files.models, "kernel": _hostile_files.kernels}[name]()
    fit = [seed for seed in seeds if seed.reader == READERS[name] and not seed.name.endswith((".mat", ".png"))]
    for index, seed in enumerate(fit):
        (folder / f"{index:03d}").write_bytes(seed.data)


def ending(name: str, data: bytes) -> str:
    """Of a file with these bytes: those of kernels have several."""
    if name != "kernel":
        return {"values": ".yaml", "card": ".safetensors"}[name]
    return ".npz" if data.startswith(b"PK") else ".npy"  # MATLAB's files are read by a process of their own: too slow


def main() -> None:
    """Fuzz one reader; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=list(READERS))
    parser.add_argument("--minutes", type=float, default=2.0, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the damage (default: %(default)s)")
    options = parser.parse_args()
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        raise FoundryError("this needs atheris; uv run --with atheris python -m benchmarks.fuzz ...") from None
    with atheris.instrument_imports(include=["srfoundry", "ruamel", "scipy.io", "numpy.lib", "safetensors"]):
        read = reader(options.reader)
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder) / "corpus"
        begun.mkdir()
        corpus(options.reader, begun)
        place = Path(folder) / "read"
        place.mkdir()

        def once(data: bytes) -> None:
            path = place / f"file{ending(options.reader, data)}"
            path.write_bytes(data)
            with suppress(FoundryError):
                read(path)

        limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}"]
        length = [f"-max_total_time={round(60 * options.minutes)}", f"-seed={options.seed}"]
        atheris.Setup([sys.argv[0], *limits, *length, "-print_final_stats=1", str(begun)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    table.run(main)
