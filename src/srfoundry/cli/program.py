"""The program `srfoundry`: enlarge and restore photographs, list and describe the models that do it."""

# The docstring is what --help begins with. The file grows with the options: it is the one list of all that a person can
# say; what teaches it is in `help_texts`.

import argparse
import io
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from srfoundry.blind.estimators import ESTIMATORS
from srfoundry.cli import browser_build, commands, comparing, converting, degrading, model_card, serving
from srfoundry.cli.help_texts import DEGRADE, EXAMPLES, IMPORT, INFO, MODELS, PROMOTE, REGISTER, RESTORE, UPSCALE
from srfoundry.cli.place import Place
from srfoundry.core import interrupts, parallel
from srfoundry.core.errors import FoundryError, one_line, refusal
from srfoundry.core.progress import end
from srfoundry.degradation.kernel_families import FAMILIES
from srfoundry.deployment.foreign.programs import PROGRAMS
from srfoundry.networks.zoo import architectures
from srfoundry.networks.zoo.family import BLIND
from srfoundry.runtime.providers import DEVICES

CONVENTIONS = ["mzsr", "dkp", "usrnet", "kernelgan"]  # conventions.CONVENTIONS, which needs PyTorch: --help is quick
MODULES = {  # by extra: what the base does without
    "train": [
        *("torch", "scipy", "pydantic", "ruamel", "safetensors", "matplotlib", "httpx", "skimage", "sklearn"),
        "jinja2",
    ],
    "export": ["onnx", "onnxscript"],
    "tracking": ["mlflow", "sqlalchemy", "alembic", "pandas"],
    "serve": ["h11", "fastapi", "starlette", "uvicorn", "prometheus_client", "python_multipart"],
    "diffusion": ["diffusers"],
    "ncnn": ["ncnn", "pnnx"],
}
EXTRAS = {module: extra for extra, modules in MODULES.items() for module in modules}
PUBLISHED = list(architectures.published())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status: 0 done, 1 an error was named, 2 wrong usage, 130 interrupted."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  (None where the caller closed it: >&-)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal's encoding has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser, given = _parser(), sys.argv[1:] if arguments is None else arguments
    if "" in given:  # Path("") would be this folder
        parser.error("an argument is empty, got ''; name a file, or . for this folder (is a variable not set?)")
    options = parser.parse_args(given)
    # In a thread: Python answers Ctrl-C between two steps of the main one, and a step of a network may take minutes.
    command = ThreadPoolExecutor(1, thread_name_prefix=parallel.NAME)
    try:
        interrupts.raise_again()
        if options.run is serving.serve:  # signals come to the main thread alone
            return serving.serve(options)
        return command.submit(copy_context().run, options.run, options).result() or 0
    except FoundryError as error:
        return _failed("\n  ".join(map(one_line, str(error).split("\n  "))))  # of many mistakes each has a line
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        return _failed(f"this needs {error.name}, which is not installed; pip install 'srfoundry[{extra}]'")
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what is finished stays\n")
        parallel.leave(130)
    except BrokenPipeError:  # `srfoundry models | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (Python flushes stdout once more at exit)
        return 0
    except Exception as error:
        if not (text := refusal(error)):
            raise
        return _failed(one_line(text))
    finally:
        command.shutdown(wait=False)
        interrupts.ignore_at_exit()


def _failed(text: str) -> int:
    """One line below the bars that stood, if anything can be written; returns the exit status."""
    end()
    with suppress(OSError):  # standard error may be a log on the very disk that is full
        sys.stderr.write(f"error: {text}\n")
    return 1


class _Version(argparse.Action):
    """Looked up when it is asked for alone: what knows it takes a moment to import."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"srfoundry {version('srfoundry')}\n")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="srfoundry", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, short: str, text: str | None = None) -> argparse.ArgumentParser:
        made = subparsers.add_parser(
            name, help=short, description=text or short, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        made.set_defaults(run=run)
        return made

    add = command("upscale", commands.upscale, "enlarge an image or a folder", UPSCALE).add_argument
    add("images", type=Path, nargs="+", metavar="image", help="images, or folders of images")
    add("--out", type=Place.of, help="file or folder to write (default: NAME_x2.png, or FOLDER_x2/, beside the input)")
    _existing(add, skip=True)
    _handling(add)
    add("--member", metavar="NAME", help="auto, clean, photo, or the name of a file in exports/ (default: auto)")
    _model_options(add)
    _restore_options(command("restore", commands.restore_blindly, "restore an image of unknown blur", RESTORE))
    _degrade_options(command("degrade", degrading.degrade, "blur and shrink a sharp image: a test case", DEGRADE))
    names = f"{IMPORT}{', '.join(PUBLISHED)}"
    add = command("import", commands.bring, "take over weights that a network's authors published", names).add_argument
    add("file", type=Path, help="their weights: .pt, .pth or .safetensors")
    add("--as", dest="known", choices=PUBLISHED, metavar="NAME", required=True, help="which network it is (see above)")
    add("--out", type=Place.of, help="model to write (default: NAME.safetensors here)")
    _existing(add)
    _convert_options(command("convert", converting.convert, "write a model for another program", converting.CONVERT))
    parser_of = command("compare", comparing.compare, "show what models make of photographs", comparing.COMPARE)
    comparing.options(parser_of)
    add = parser_of.add_argument
    add("--out", type=Place.of, default="before_after.png", help="picture to write (default: %(default)s)")
    _existing(add)
    _model_options(add)
    serving.options(command("serve", serving.serve, "serve the family over HTTP, with a page", serving.SERVE), _whole)
    parser_of = command("card", model_card.card, "write a model's folder to publish, with a card", model_card.CARD)
    model_card.options(parser_of, _whole)
    command("models", commands.models, "list registered models, versions and aliases", MODELS)
    _register_options(command("register", commands.register, "register the models in exports/", REGISTER))
    add = command(
        "promote", commands.promote, "point an alias to a registered version: roll back", PROMOTE
    ).add_argument
    add("version", help="models:/NAME/VERSION, or models:/NAME@ALIAS such as a challenger's")
    add("--alias", default="", help="that is to point to it (default: that of its member: champion, p50, photo ...)")
    browser_build.options(command("web", browser_build.write, "write a page for the browser alone", browser_build.WEB))
    command("info", commands.info, "print a model's card", INFO).add_argument(
        "model", nargs="?", help=f"a .onnx or .safetensors file, or models:/NAME@alias (default: {commands.DEFAULT})"
    )
    return parser


def _register_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--exports", type=Path, default=Path("exports"), help="folder of the .onnx files (default: %(default)s)")
    add("--name", help="of the registered model (default: export.registered_model of the params file)")
    add("--params", type=Path, default=Path("params.yaml"), help="params file (default: %(default)s)")
    add(
        "--new",
        action="store_true",
        help="only files that have no version yet and were not refused here; says nothing where there is none",
    )


def _convert_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, help="a .onnx file of exports/, for spandrel a .safetensors file of models/")
    add("--for", dest="program", choices=sorted(PROGRAMS), required=True, help="which program (see above)")
    add("--out", type=Path, metavar="FOLDER", help="folder to write (default: elsewhere/PROGRAM/)")
    _existing(add)


def _restore_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("images", type=Path, nargs="+", metavar="image", help="images, or folders of images")
    add("--out", type=Place.of, help="file or folder to write (default: NAME_restored.png, or FOLDER_restored/)")
    _existing(add, skip=True)
    _handling(add)
    blur = parser.add_mutually_exclusive_group().add_argument
    blur("--kernel", type=Path, metavar="FILE", help="skip the estimation: a .npy, .npz, .mat or .png kernel, sum 1")
    blur("--method", choices=list(ESTIMATORS), help="how the kernel is estimated (default: estimate.method)")
    _convention(add)
    add("--decimation", choices=["direct", "bicubic"], help="how it was reduced (default: auto finds out)")
    add("--steps", type=_whole(0), default=10, help="gradient steps of adaptation (default: 10; 1 is fast)")
    add("--close", type=_whole(0), default=0, metavar="N", help="back-projections at the end (default: 0; 1 is best)")
    add("--linear", action="store_true", help="the blur is a camera's: it acted on light, not on the encoded levels")
    add(
        "--model",
        type=Path,
        default=Path("models/metatrain.safetensors"),
        help="MZSR's or USRNet's checkpoint, a folder with a diffusion model, or dip (default: %(default)s)",
    )
    add("--scale", type=_whole(1), help="enlargement, where the model leaves it open (default: shared.scale)")
    add(
        "--kernel-error",
        type=_number(0.0),
        default=0.0,
        metavar="SHARE",
        help="how wrong the kernel's variances may be, 0.25 = a quarter: adaptation corrects its width (default: 0)",
    )
    add("--noise", type=_number(0.0), help="deviation of the image's noise, of 255 (default: see above)")
    add("--force", action="store_true", help="restore what looks as if restoration would harm it, too (see above)")
    add(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        help="step sizes and estimation settings, some or all, before those of params.yaml (default: %(default)s)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)")


def _degrade_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, help="a sharp image; with --set a folder of them, too")
    add("--set", dest="sets", action="append", choices=BLIND, help="write a blind test set (see above); repeatable")
    add("--out", type=Place.of, help="file or folder to write (default: NAME_low.png)")
    _existing(add)
    add("--scale", type=_whole(1), default=2, help="reduction (default: 2)")
    blur = parser.add_mutually_exclusive_group().add_argument
    blur("--width", type=_number(0.1), default=2.0, help="deviation of the Gaussian blur in pixels (default: 2.0)")
    blur("--family", choices=FAMILIES, help="a random kernel of a family instead (see --seed)")
    blur("--kernel", type=Path, metavar="FILE", help="a .npy, .npz, .mat or .png kernel instead")
    _convention(add)
    add("--decimation", choices=["direct", "bicubic"], default="direct", help="how to reduce (default: direct)")
    add("--border", choices=["reflect", "replicate", "circular"], help="what lies outside (default: the convention's)")
    add("--noise", type=_number(0.0), default=0.0, help="deviation of white noise, of 255 grey levels (default: 0)")
    add("--jpeg", type=_whole(1, 95), metavar="QUALITY", help="compress the result, quality 1 to 95")
    add("--seed", type=_whole(0), default=0, help="of the noise, of --family and of --set (default: 0)")


def _existing(add: Any, *, skip: bool = False) -> None:
    """What becomes of results that are there already; by default the program stops before the work."""
    more = {"dest": "existing", "action": "store_const", "default": "refuse"}
    add(
        "--overwrite",
        const="overwrite",
        help="replace results that are there (default: refuse, before the work)",
        **more,
    )
    if skip:
        add("--skip-existing", const="skip", help="keep results that are there, make the others", **more)


def _handling(add: Any) -> None:
    add(
        "--quality",
        type=_whole(1, 100),
        default=95,
        help="of a .jpg (4:4:4) or .webp result (100: lossless) (default: %(default)s)",
    )
    add(
        "--largest-megapixels",
        type=_whole(1, 10_000),
        default=128,
        metavar="N",
        help="refuse larger images, which may be bombs (default: %(default)s)",
    )


def _convention(add: Any) -> None:
    add(
        "--convention",
        choices=CONVENTIONS,
        default="mzsr",
        help="whose kernels: flips, centres, borders (default: mzsr)",
    )


def _model_options(add: Any) -> None:
    add("--model", help=f"a .onnx or .safetensors file, or models:/NAME@champion (default: {commands.DEFAULT})")
    add(
        "--tile",
        type=_whole(16),
        help="side of the largest square that runs at once, pixels; less needs less memory (default: the model's)",
    )
    add("--overlap", type=_whole(0), help="input pixels that a tile reaches into its neighbours (default: the model's)")
    add("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")
    cores = parallel.usable_cores()
    # More threads than cores gain nothing; a few more are let pass, for a script that was written for another machine.
    add(
        "--threads",
        type=_whole(1, max(64, cores)),
        default=cores,
        help="CPU threads (default: %(default)s, one a core)",
    )


def _number(least: float) -> Any:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= 100:
            raise argparse.ArgumentTypeError(f"must be a number from {least:g} to 100, got {text!r}")
        return value

    return number


def _whole(least: int, most: int | None = None) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or int(text) < least or (most is not None and int(text) > most):
            bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, got {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    raise SystemExit(main())
