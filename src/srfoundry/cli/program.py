"""The program `srfoundry`: enlarge and restore photographs, list and describe the models that do it."""

# The docstring is what --help begins with. The file grows with the options: it is the one list of all that a person can
# say, and of the help that teaches it.

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

from srfoundry.cli import browser_build, commands, comparing, converting, degrading, model_card, serving
from srfoundry.cli.place import Place
from srfoundry.core import interrupts, parallel
from srfoundry.core.errors import FoundryError, one_line, refusal
from srfoundry.core.progress import end
from srfoundry.deployment.foreign.programs import PROGRAMS
from srfoundry.networks.zoo import architectures
from srfoundry.runtime.providers import DEVICES

FAMILIES = ["gaussian", "noisy", "line", "trajectory"]  # kernels.FAMILIES and conventions.CONVENTIONS, which need
CONVENTIONS = ["mzsr", "dkp", "usrnet", "kernelgan"]  # PyTorch: --help should be quick
BLIND_SETS = ["div2krk", "photographs"]  # blind_sets.SETS, likewise
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

EXAMPLES = """examples:
  srfoundry upscale photo.jpg                          photo_x2.png beside it, with the model in exports/
  srfoundry upscale holiday/ --out large/              a folder, nested ones too
  srfoundry upscale photo.jpg --member photo           the model for damaged photographs, whatever it looks like
  srfoundry upscale photo.jpg --model models:/srfoundry@champion
  srfoundry restore old.png                            unknown blur: kernel found, network adapted to this image
  srfoundry restore old.png --kernel blur.npy --steps 5
  srfoundry degrade sharp.png --width 2.0              make a test case: blurred and half the size
  srfoundry degrade sharp.png --family trajectory --noise 2 --jpeg 80 --scale 4
  srfoundry degrade sharp/ --set div2krk --scale 4     a blind test set of a folder, as the field makes it
  srfoundry compare sharp.png --out before_after.png   what the model gives back of a photograph made small
  srfoundry compare --real album/ --model exports/photo.onnx --beside exports/pruned.onnx   photographs as they are
  srfoundry serve                                      a page and HTTP at http://127.0.0.1:8000/, for this machine
  srfoundry models                                     what is registered, who is champion
  srfoundry register                                   the models in exports/, into a registry that is new
  srfoundry info exports/pruned.onnx                   the card inside a model
  srfoundry web exports/pruned70.onnx                  a page that enlarges in the browser, for any web server
  srfoundry card --out card/                           a folder to publish: the model, its card, figures, a picture
  srfoundry import EDSR_x2.pt --as edsr-x2             published weights as a model of this program
  srfoundry convert exports/pruned.onnx --for ncnn     a model for another program: upscayl, chaiNNer, Triton ...

`srfoundry COMMAND --help` explains each command. Errors are one line and exit 1."""

UPSCALE = """Enlarges an image, or every image below a folder, with a trained model.

Without --model, the member of exports/ that fits each image is taken: photo.onnx, which was trained for what cameras
and the web deliver, where the file or its pixels show a JPEG of quality below 80 (also where it was saved anew), noise
or blur; pruned.onnx, which was trained on clean reductions, otherwise and where there is no photo.onnx. Which one and
why is said. --member photo, clean or pruned50, say, takes that one. --model names another file, a folder of files, or
models:/NAME, whose aliases champion and photo are its members.

An image that is larger than --tile squared is cut into tiles which overlap and are cross-faded, so that memory stays
bounded and no seam shows; they are fitted to the image, so that few pixels are computed twice.
Alpha is enlarged bicubically, grey stays grey, the EXIF orientation is applied; colour profiles, resolution, date,
camera and place are kept. Results that are there already stop it before the work (--overwrite, --skip-existing). Of
several images a bad one is named, the others are done, and the exit status is 1."""

RESTORE = """Restores an image of unknown blur, or every image below a folder, one a core.

What happened to the image is weighed first, and the blur kernel estimated from the image alone, as `estimate` in
params.yaml says. The meta-trained MZSR network then takes a few gradient steps on the image's own reduced copy, made
with that kernel; of a large image on its busiest parts. --model takes another restorer instead, which is conditioned on
both: USRNet (models/nonblind.safetensors), a folder with an unconditional diffusion model of `diffusers`, or the word
dip, a network trained on the image alone (minutes).

Say how the image was made small if you know it: every s-th pixel was kept (--decimation direct), or its pixels are
means around the centres of their blocks (bicubic; area and Lanczos, as in image programs, lie there, too). A soft image
often does not show which. Its result then may lie half a pixel beside its place, which nobody sees who has no original
to lay it over, and costs decibels where there is one.

Written: the restored image, the kernel (NAME_kernel.npy) and a picture of both with the image before and after
(NAME_kernel.png). Printed: how well the result, blurred and reduced again, explains the input, and whether adaptation
had to fall back. Run it in the project's folder, after `make repro`.

An ordinary reduced image, one that is hardly blurred, and strong noise under a model that does not know it would be
made worse: such an image is enlarged by the networks in exports/ or plainly, which is said, and no kernel is written
(with --overwrite a former one is removed).
--force restores it all the same. A kernel that is given is believed, under direct decimation if nothing else is said.
--noise goes to the estimation of the kernel, to USRNet and to diffusion models. Without it these estimate it, but for
the methods dkp and mlmc, which take estimate.noise of params.yaml; the method released knows none. MZSR's network and
dip take none, and are kept from images with more than 1.5 of 255."""

DEGRADE = """Blurs a sharp image with a kernel, reduces it, and adds noise and compression on demand.

Written: the low-resolution image, the kernel (NAME_kernel.npy) and a picture of both beside the original
(NAME_kernel.png). Conventions: mzsr keeps the top-left pixel of each block under a centred kernel; kernelgan (DIV2KRK)
is aligned with MATLAB's bicubic; dkp (FKP) and usrnet wrap at the borders, and dkp truncates to 8 bits. A kernel file
is used as its convention says; --width and --family are put where the convention has its centre, or in the middle with
--decimation bicubic. All kernels are written as correlations, for --kernel of restore.

With --set it makes a test set of a photograph or of a folder, nested ones too, on the grid of MATLAB's bicubic; only
--scale, --seed and --out count then. div2krk: an anisotropic Gaussian for each photograph, every tap multiplied by
noise (KernelGAN). photographs: two rounds of blur, resizing, noise and JPEG (Real-ESRGAN). FOLDER_SET_xSCALE/ then has
high/, bicubic/, SET/, the kernels in SET_kernels/, and SET.json with the seed and all that was drawn. The factory makes
the same of its held-out photographs in data/synthesize/held_out."""

REGISTER = """Registers pruned.onnx, pruned50.onnx, pruned70.onnx, photo.onnx and photo50.onnx in the MLflow registry at
MLFLOW_TRACKING_URI.

The stage `export` does this by itself; this is for a registry that is new or did not answer then. The same file is one
version, however often it is registered. An alias (champion, p50, p70; photo, photo50) moves only to a model that is
above bicubic and better than its holder on the same held-out photographs (damaged ones for the latter two) by
`export.least_gain` dB, or as good with less time or size; a
holder that was scored on other photographs is scored on the present ones first, if data/synthesize is here."""

IMPORT = """Makes a model of this program from the weights that a network's authors published.

FILE is a state dict (.pt, .pth) or .safetensors in the authors' layout; nothing but tensors is read from it. The
network then takes and gives images in [0, 1], whatever range it was trained on, and works with `upscale --model` (dual
nets make images smaller: they are for training). A
pruned DRN or SwinIR of the same layout is recognised by its shapes.

names: """ + ", ".join(PUBLISHED)


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
        return _failed(one_line(str(error)))
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
    add = command("import", commands.bring, "take over weights that a network's authors published", IMPORT).add_argument
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
    model_card.options(
        command("card", model_card.card, "write a model's folder to publish, with a card", model_card.CARD)
    )
    command("models", commands.models, "list registered models, versions and aliases")
    _register_options(command("register", commands.register, "register the models in exports/", REGISTER))
    browser_build.options(command("web", browser_build.write, "write a page for the browser alone", browser_build.WEB))
    command("info", commands.info, "print a model's card").add_argument(
        "model", nargs="?", help=f"a .onnx or .safetensors file, or models:/NAME@alias (default: {commands.DEFAULT})"
    )
    return parser


def _register_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--exports", type=Path, default=Path("exports"), help="folder of the .onnx files (default: %(default)s)")
    add("--name", help="of the registered model (default: export.registered_model of the params file)")
    add("--params", type=Path, default=Path("params.yaml"), help="params file (default: %(default)s)")
    add("--new", action="store_true", help="only files that have no version yet; says nothing where there is none")


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
    add("--kernel", type=Path, metavar="FILE", help="skip the estimation: a .npy, .npz, .mat or .png kernel, sum 1")
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
        help="step sizes and estimation settings (default: %(default)s)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)")


def _degrade_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", type=Path, help="a sharp image; with --set a folder of them, too")
    add(
        "--set", dest="sets", action="append", choices=BLIND_SETS, help="write a blind test set (see above); repeatable"
    )
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
