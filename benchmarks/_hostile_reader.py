"""A process that reads one hostile file after another through the program's own doors, and says what became of each.

It loads its libraries once and forks; the child reads, and a new one takes its place where it dies. Its address space
may grow by ROOM. What it says of a file: read, refused (by one FoundryError of one line that names the file), or
`tracebacks` (anything else), and whether memory ran out on the way, which counts even where it was refused for it.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from pipelines.support.graph import Graph
from srfoundry.cli import program
from srfoundry.config import params
from srfoundry.core.errors import FoundryError, is_out_of_memory
from srfoundry.core.state import load_state
from srfoundry.data import unpack
from srfoundry.degradation import kernel_files
from srfoundry.imaging import user_image

ROOM = 2**31  # bytes that a file may take beside what the libraries take
LARGEST_WRITTEN = 2**20  # pixels of a picture that is enlarged, too
ENDINGS = (".png", ".jpg", ".webp", ".tif")
TRACED = ("/srfoundry/", "/pipelines/", "/PIL/", "/zipfile", "/tarfile", "/scipy/io/", "/numpy/lib/")


class Refused(Exception):
    """What a command said before it ended with status 1."""


def picture(path: Path, scratch: Path) -> None:
    """Read a photograph and write it twice as large, with its metadata, in a format that has room for it."""
    found = user_image.read(path)
    if found.pixels.shape[0] * found.pixels.shape[1] <= LARGEST_WRITTEN:
        endings = ENDINGS if found.alpha is None else (".png", ".webp", ".tif")
        ending = endings[zlib.crc32(path.name.encode()) % len(endings)]
        user_image.write(found.pixels.repeat(2, 0).repeat(2, 1), found, scratch / f"{path.stem}_x2{ending}")


def picture_by_program(path: Path, scratch: Path) -> None:
    """The whole command, with a model of a few numbers."""
    _command("upscale", path, "--model", scratch / "small.onnx", "--out", scratch / f"{path.stem}_x2.png")


def values(path: Path, scratch: Path) -> None:
    """A params file."""
    params.load(path)


def graph(path: Path, scratch: Path) -> None:
    """A dvc.yaml, asked for all that stages ask it for."""
    root = scratch / "factory"
    root.mkdir()
    shutil.copy(path, root / "dvc.yaml")
    try:
        found = Graph(root)
        order = found.order()
        for name in order:
            found.sections(name), found.outputs(name), found.matrix(name)
        for name in order[-1:]:
            found.ancestors(name), found.writer(name)
    except FoundryError as error:
        raise FoundryError(str(error).replace(str(root), "").replace("dvc.yaml", str(path))) from error


def checkpoint(path: Path, scratch: Path) -> None:
    """A .safetensors file that enlarges, or that adapts to a blur: its card, and its network at work."""
    _command("info", path)
    if "mzsr" in path.name:
        blur = ("--kernel", scratch / "kernel.npy", "--params", scratch / "params.yaml", "--steps", "1", "--force")
        _command("restore", scratch / "small.png", "--model", path, *blur, "--out", scratch / "restored.png")
    else:
        _command("upscale", scratch / "small.png", "--model", path, "--out", scratch / "large.png")


def authors_weights(path: Path, scratch: Path) -> None:
    """Weights in their authors' layout, of one of the names that the program knows."""
    _command("import", path, "--as", "edsr-baseline-x2", "--out", scratch / "imported.safetensors")


def onnx_model(path: Path, scratch: Path) -> None:
    """A .onnx file: its card, and a photograph that it enlarges."""
    _command("info", path)
    _command("upscale", scratch / "small.png", "--model", path, "--out", scratch / "large.png")


def training_state(path: Path, scratch: Path) -> None:
    """What a killed stage goes on from."""
    import torch

    net = torch.nn.Linear(3, 2)
    load_state(path, "key", {"net": net, "optimiser": torch.optim.Adam(net.parameters())})


def kernel(path: Path, scratch: Path) -> None:
    """A kernel for --kernel; and every one of a file, as a folder of them is read."""
    kernel_files.read_all(path)
    kernel_files.read(path)


def archive(path: Path, scratch: Path) -> None:
    """An archive of photographs; what it unpacks to must lie in its own folder."""
    place = scratch / "a" / "unpacked"
    unpack.extract(path, place)
    out = [each for each in scratch.joinpath("a").rglob("*") if each != place and place not in each.parents]
    strange = [each for each in place.rglob("*") if each.is_symlink() or not (each.is_dir() or each.is_file())]
    if out or strange:
        raise AssertionError(f"it left its folder: {(out + strange)[:3]}")


def forever(path: Path, scratch: Path) -> None:
    """Never end: whether a hang is seen."""
    while True:
        pass


READERS: dict[str, Callable[[Path, Path], None]] = {
    reader.__name__: reader
    for reader in (
        *(picture, picture_by_program, values, graph, checkpoint, authors_weights, onnx_model, training_state),
        *(kernel, archive, forever),
    )
}


def read(reader: str, path: Path, scratch: Path) -> dict[str, Any]:
    """Have one file read: outcome, whether memory was short, processor seconds, and what was said."""
    began, said, short = _computed(), "", False
    try:
        READERS[reader](path, scratch)
        outcome = "read"
    except (FoundryError, Refused) as error:
        said = str(error)
        one = len(said.splitlines()) == 1 and "Traceback" not in said
        outcome = "refused" if one and path.stem in said else "tracebacks"
        short = _short(error)
    except BaseException as error:
        outcome, said, short = "tracebacks", f"{type(error).__name__}: {error} {_place(error)}", _short(error)
    return {"outcome": outcome, "short": short, "seconds": _computed() - began, "said": said[-400:]}


def _computed() -> float:
    """Processor seconds of this process and of those that it started."""
    return sum(os.times()[:4])


def _command(*words: Any) -> None:
    """Run `srfoundry` with these words.

    Raises:
        Refused: it ended with an error of its own.
        AssertionError: it printed a traceback, or ended otherwise.
    """
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        status = program.main([*map(str, words), *(["--overwrite"] if "--out" in words else [])])
    lines = [line for line in said.getvalue().replace("\r", "\n").splitlines() if line.startswith("error: ")]
    if status == 1 and len(lines) == 1:
        raise Refused(lines[0])
    if status or "Traceback" in said.getvalue():
        raise AssertionError(f"status {status}: {said.getvalue()[-300:]}")


def _short(error: BaseException | None) -> bool:
    """Whether memory ran out: in this error, in one that it came of, or as a command says it."""
    while error is not None:
        if is_out_of_memory(error) or "more memory than there is" in str(error):
            return True
        error = error.__context__
    return False


def _place(error: BaseException) -> str:
    trace, places = error.__traceback__, list[str]()
    while trace is not None:
        places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(places[-4:])


class Lines:
    """Which lines of the readers' own code have run: what tells a new kind of damage from one more of a known kind."""

    def __init__(self) -> None:
        self.fresh: set[str] = set()
        self._seen: set[tuple[CodeType, int]] = set()
        self._wanted: dict[CodeType, bool] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch this thread, and those that begin within."""
        self.fresh.clear()
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code not in self._wanted:
            self._wanted[code] = any(part in code.co_filename for part in TRACED)
        return self._line if self._wanted[code] else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = (frame.f_code, frame.f_lineno)
        if place not in self._seen:
            self._seen.add(place)
            self.fresh.add(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return self._line


def _serve(scratch: Path, keep: set[str]) -> None:
    """Answer each line of standard input, a JSON list of reader, path and whether lines are watched, with one line."""
    lines, unbuffered = Lines(), os.fdopen(0, "rb", 0, closefd=False)  # another child may have to read the next one
    _say(pid=os.getpid(), peak=_kib("VmHWM"))
    while line := unbuffered.readline():
        try:
            reader, path, watched = json.loads(line)
        except ValueError:  # the rest of a line: a child that was killed had taken up its beginning
            continue
        with lines.watched() if watched else contextlib.nullcontext():
            found = read(reader, Path(path), scratch)
        _tidy(scratch, keep)
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        _say(**found, path=path, peak=max(_kib("VmHWM"), children), fresh=sorted(lines.fresh) if watched else [])


def _tidy(scratch: Path, keep: set[str]) -> None:
    for left in scratch.iterdir():
        if left.name not in keep:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() and not left.is_symlink() else left.unlink()


def _say(**what: Any) -> None:
    os.write(3, json.dumps(what).encode() + b"\n")


def _kib(name: str) -> int:
    """A line of this process's status. Not getrusage: its peak starts at that of the process that started this one."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def main(scratch: Path) -> None:
    """Fork children that serve until standard input ends; say of each that died, how."""
    import torch

    for name in ("onnxruntime", "safetensors.torch", "scipy.io"):  # once, for all children
        import_module(name)
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    room = 1024 * _kib("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keep = {path.name for path in scratch.iterdir()}
    while True:
        child = os.fork()
        if child == 0:
            _serve(scratch, keep)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        _tidy(scratch, keep)
        _say(died=code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
