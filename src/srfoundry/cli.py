"""The program `srfoundry`: enlarge and restore photographs, list and describe the models that do it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srfoundry.errors import FoundryError

if TYPE_CHECKING:
    import torch

    from srfoundry.apply import Model

DEFAULT = "exports/pruned.onnx"

EXAMPLES = """examples:
  srfoundry upscale photo.jpg                          photo_x2.png beside it, with the model in exports/
  srfoundry upscale holiday/ --out large/              a folder, nested ones too
  srfoundry upscale photo.jpg --model models:/srfoundry@champion
  srfoundry restore old.png                            unknown blur: kernel found, network adapted to this image
  srfoundry restore old.png --kernel blur.npy --steps 5
  srfoundry degrade sharp.png --width 2.0              make a test case: blurred and half the size
  srfoundry compare sharp.png --out before_after.png   what the model gives back of a photograph made small
  srfoundry models                                     what is registered, who is champion
  srfoundry info exports/pruned.onnx                   the card inside a model

`srfoundry COMMAND --help` explains each command. Errors are one line and exit 1."""

UPSCALE = """Enlarges an image, or every image below a folder, with a trained model.

The image is cut into tiles which overlap and are cross-faded, so that memory stays bounded and no seam shows.
Alpha is enlarged bicubically, grey stays grey, the EXIF orientation is applied, colour profiles are kept. A file of
a folder that cannot be read is named, the others are done, and the exit status is 1."""

RESTORE = """Restores an image whose blur nobody knows.

DKP estimates the blur kernel from the image alone. The meta-trained MZSR network then takes a few gradient steps on
the image's own reduced copy, made with that kernel. Written: the restored image, the kernel (NAME_kernel.npy) and a
picture of the kernel with the image before and after (NAME_kernel.png). Printed: how well the result, blurred and
reduced again, explains the input. Run it in the project's folder, after `make repro`."""


def say(text: str = "") -> None:
    """Print one line for the user."""
    sys.stdout.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status: 0 done, 1 an error was named, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except FoundryError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:  # `srfoundry models | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (Python flushes stdout once more at exit)
        return 0


def upscale(options: argparse.Namespace) -> int:
    """Enlarge an image or a folder."""
    from tqdm import tqdm

    from srfoundry import apply, photograph, restore
    from srfoundry.progress import bar

    model, tile, overlap = _model(options)
    restore.check(tile, overlap)
    jobs = apply.plan(options.image, options.out, model.scale)
    tiles = {job: restore.count(*photograph.size(job.source), tile, overlap) for job in jobs}
    if len(jobs) == 1:  # then a bad image is simply the program's error, before any bar
        photograph.check_target(photograph.read(jobs[0].source), jobs[0].target)
    failed = 0
    with bar("upscale", sum(tiles.values())) as progress:
        done = 0

        def tick(_done: int, _total: int) -> None:
            progress.update(1)

        for job, error in apply.upscale(jobs, model, tile=tile, overlap=overlap, progress=tick):
            done += tiles[job]
            progress.update(done - progress.n)  # an image that failed counts as done
            progress.set_postfix_str(job.source.name)
            if error is not None:
                failed += 1
                tqdm.write(f"error: {error}", file=sys.stderr)
    if failed:
        if len(jobs) > 1:
            sys.stderr.write(
                f"error: {failed} of {len(jobs)} images were left out (named above); the others are done\n"
            )
        return 1
    below = os.path.relpath(os.path.commonpath([job.target.parent.resolve() for job in jobs]))
    say(f"{jobs[0].target if len(jobs) == 1 else f'{len(jobs)} images below {below}'}  (x{model.scale})")
    return 0


def restore_blindly(options: argparse.Namespace) -> int:
    """Estimate the kernel, adapt, restore."""
    import numpy as np

    from srfoundry import apply, checkpoint, images, kernels, params, photograph, report
    from srfoundry.progress import bar

    chosen = params.load(options.params)
    device = _device(options.device)
    original = photograph.read(options.image)
    target = options.out or options.image.with_name(f"{options.image.stem}_restored.png")
    target = target / f"{options.image.stem}_restored.png" if target.is_dir() or not target.suffix else target
    if target.resolve() == options.image.resolve():
        raise FoundryError(f"the result would replace its own source {target}; name another place with --out")
    photograph.check_target(original, target)
    net, card = checkpoint.load(options.model)
    rates = [*chosen.evaluate.rates, *[chosen.evaluate.rates[-1]] * options.steps][: options.steps]
    given = None if options.kernel is None else kernels.read(options.kernel)

    def estimate(low: Any) -> Any:
        if given is not None:
            return given
        say("estimating the blur kernel (DKP) ...")
        return _estimate(low, card.scale, chosen, device)

    with bar("restore", None) as progress:

        def tick(done: int, total: int) -> None:
            progress.total = total
            progress.update(done - progress.n)

        found = apply.blind(
            original.image, net, card.scale, estimate=estimate, rates=rates, device=device, progress=tick
        )
    photograph.write(images.to_uint8(found.restored), original, target)
    stem = target.with_name(f"{target.stem}_kernel")
    np.save(stem.with_suffix(".npy"), found.kernel[0].numpy())
    caption = "estimated kernel" if given is None else "given kernel"
    report.blind(stem.with_suffix(".png"), original.image, found.bicubic, found.restored, found.kernel, caption)
    say(f"{target}  (x{card.scale}, {len(found.losses)} steps)")
    say(f"{stem}.npy  and  {stem}.png")
    say(f"consistency D(restored) = input: {found.consistency:.2f} dB  (bicubic: {found.consistency_bicubic:.2f} dB)")
    return 0


def degrade(options: argparse.Namespace) -> int:
    """Blur and decimate a sharp photograph: a test case for `restore`."""
    import torch

    from srfoundry import degrade as physics
    from srfoundry import images, kernels

    image = images.read(options.image)
    if options.kernel is not None:
        kernel = kernels.read(options.kernel)
    else:
        variance = torch.tensor([options.width**2])
        kernel = kernels.gaussian(15, variance, variance, torch.zeros(1))
    target = options.out or options.image.with_name(f"{options.image.stem}_low.png")
    images.write(physics.degrade(image, kernel, options.scale), target)
    say(str(target))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Make photographs small, enlarge them with the model, and draw the two beside the original."""
    from srfoundry import images, report, resize, restore

    model, tile, overlap = _model(options)
    rows = []
    for path in options.images:
        high = images.read(path)
        high = high[..., : high.shape[-2] // model.scale * model.scale, : high.shape[-1] // model.scale * model.scale]
        # The model sees what a file would hold: 8 bits.
        low = images.from_uint8(images.to_uint8(resize.cubic(high, 1 / model.scale)))
        restored = restore.tiled(model.run, low, model.scale, tile=tile, overlap=overlap)
        rows.append((low, {"srfoundry": restored}, high, None))
    report.hero(options.out, rows)
    say(str(options.out))
    return 0


def models(options: argparse.Namespace) -> int:
    """List the registered versions and their aliases."""
    rows = _registry().versions()
    lines = [list(rows[0]), *[list(row.values()) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def info(options: argparse.Namespace) -> int:
    """Print a model's card."""
    import dataclasses

    path = _find(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry import checkpoint

        card: Any = checkpoint.read_card(path)
    else:
        from srfoundry.export import Session

        card = Session(path, threads=1, device="cpu").card
    say(json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True))
    return 0


def _model(options: argparse.Namespace) -> "tuple[Model, int, int]":
    """The model that the options name, with its tile and overlap."""
    path = _find(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry.apply import TILE, TorchModel

        device = _device(options.device)
        model: Any = TorchModel(path, device)
        tile, overlap = TILE, model.overlap
    else:
        from srfoundry.export import Session

        model = Session(path, threads=options.threads, device=options.device)
        tile, overlap = model.card.tile, model.card.overlap
    tile = options.tile or tile
    return model, tile, min(overlap, tile // 4) if options.overlap is None else options.overlap


def _find(name: str | None) -> Path | bytes:
    if name is not None and name.startswith("models:/"):
        return _registry().fetch(name)
    if name is not None:
        path = Path(name)
        if path.suffix not in (".onnx", ".safetensors"):
            raise FoundryError(f"--model takes a .onnx or .safetensors file or models:/NAME@alias, got {name}")
        return path
    found = [Path(DEFAULT)] if Path(DEFAULT).exists() else sorted(Path("exports").glob("*.onnx"))
    if not found:
        raise FoundryError("no model: exports/ holds no .onnx file here; run `make repro`, or name one with --model")
    return found[0]


def _registry() -> Any:
    """The registry of the project in this folder, or of MLFLOW_TRACKING_URI; MLflow reads these at its import."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from srfoundry import registry

    return registry


def _device(name: str) -> "torch.device":
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise FoundryError("device cuda was asked for, got no GPU that torch can see; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _estimate(low: Any, scale: int, chosen: Any, device: Any) -> Any:
    raise FoundryError("kernel estimation is not installed; give the kernel with --kernel FILE.npy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="srfoundry", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, short: str, text: str | None = None) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=short, description=text or short, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        made.set_defaults(run=run)
        return made

    add = command("upscale", upscale, "enlarge an image or a folder", UPSCALE).add_argument
    add("image", type=Path, help="an image, or a folder of images")
    add("--out", type=Path, help="file or folder to write (default: NAME_x2.png, or FOLDER_x2/, beside the input)")
    _model_options(add)
    add = command("restore", restore_blindly, "restore an image of unknown blur", RESTORE).add_argument
    add("image", type=Path, help="an image")
    add("--out", type=Path, help="file or folder to write (default: NAME_restored.png beside the input)")
    add("--kernel", type=Path, metavar="FILE", help="skip the estimation: a .npy or .npz kernel, odd size, sum 1")
    add("--steps", type=_whole(0), default=10, help="gradient steps of adaptation (default: 10; 1 is fast)")
    add(
        "--model",
        type=Path,
        default=Path("models/metatrain.safetensors"),
        help="the MZSR checkpoint (default: %(default)s)",
    )
    add(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        help="step sizes and estimation settings (default: %(default)s)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)")
    add = command("degrade", degrade, "blur and shrink a sharp image: a test case").add_argument
    add("image", type=Path, help="a sharp image")
    add("--out", type=Path, help="file to write (default: NAME_low.png)")
    add("--width", type=float, default=2.0, help="standard deviation of the Gaussian blur in pixels (default: 2.0)")
    add("--kernel", type=Path, metavar="FILE", help="a .npy or .npz kernel instead of the Gaussian")
    add("--scale", type=_whole(2), default=2, help="reduction (default: 2)")
    add = command("compare", compare, "draw what a model gives back of photographs made small").add_argument
    add("images", type=Path, nargs="+", help="sharp photographs")
    add("--out", type=Path, default=Path("before_after.png"), help="picture to write (default: %(default)s)")
    _model_options(add)
    command("models", models, "list registered models, versions and aliases")
    command("info", info, "print a model's card").add_argument(
        "model", nargs="?", help=f"a .onnx or .safetensors file, or models:/NAME@alias (default: {DEFAULT})"
    )
    return parser


def _model_options(add: Any) -> None:
    add("--model", help=f"a .onnx or .safetensors file, or models:/NAME@champion (default: {DEFAULT})")
    add(
        "--tile",
        type=_whole(16),
        help="input pixels a side that run at once; less needs less memory (default: the model's)",
    )
    add("--overlap", type=_whole(0), help="input pixels that a tile reaches into its neighbours (default: the model's)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)")
    threads = len(os.sched_getaffinity(0))
    add("--threads", type=_whole(1), default=threads, help="CPU threads (default: %(default)s)")


def _whole(least: int) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")
        return int(text)

    return number


if __name__ == "__main__":
    raise SystemExit(main())
