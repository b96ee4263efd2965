"""The command that writes the page which needs no server: options in, a folder out."""

import argparse
import os
from pathlib import Path

from srfoundry.cli import commands
from srfoundry.cli.place import check_apart, check_nothing_lost
from srfoundry.core.errors import FoundryError

DEFAULT = "exports/pruned70.onnx"
WEB = """Writes a static folder whose page enlarges photographs in the browser, without any server behind it.

It holds the page, the named members of the family, and ONNX Runtime Web, which npm fetches once (33 MB, kept in
~/.cache/srfoundry, its digest is checked). Any web server offers it: python -m http.server --directory web. Its
README.md says what threads and WebGPU need. The same models give the same bytes."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add(
        "models",
        nargs="*",
        metavar="model",
        help=f".onnx files or models:/NAME@alias, the first is offered first (default: {DEFAULT})",
    )
    add("--out", type=Path, default=Path("web"), help="folder to write (default: %(default)s)")
    add(
        "--overwrite",
        action="store_true",
        help="replace a browser build that is there, if its folder holds nothing else (default: refuse)",
    )
    add("--onnxruntime-web", type=Path, metavar="FOLDER", help="an unpacked npm package, instead of asking npm for it")


def write(chosen: argparse.Namespace) -> int:
    """Write the browser build of some members."""
    from srfoundry.deployment import web

    folder = chosen.out
    check_apart(folder)
    if folder.exists() and not (folder / web.LISTED).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FoundryError(f"{folder} is there and is no browser build; name another folder with --out")
    if (folder / web.LISTED).is_file() and not chosen.overwrite:
        raise FoundryError(f"{folder} would be replaced; allow it with --overwrite, or name another folder with --out")
    if folder.is_dir():
        check_nothing_lost(folder, web.strange(folder))
    models = [_exported(name) for name in chosen.models or [DEFAULT]]
    unpacked = chosen.onnxruntime_web
    web.write(models, folder, web.fetch(_cache()) if unpacked is None else web.check(unpacked))
    commands.say(f"{folder}  (python -m http.server --directory {folder}; its README.md says more)")
    return 0


def _exported(name: str) -> Path | bytes:
    from srfoundry.runtime import pulling

    if name.startswith("models:/"):
        return pulling.pull(name)
    if Path(name).suffix != ".onnx":
        raise FoundryError(f"a browser runs .onnx files, got {name}; name one, or models:/NAME@alias")
    return Path(name)


def _cache() -> Path:
    """Where this user's programs keep what they have fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srfoundry"
