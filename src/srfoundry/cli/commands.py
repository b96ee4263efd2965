"""What each command of the program does: options in, files and printed lines out. program.py parses.

Heavy imports stay inside the commands that need them, so that `srfoundry --help` is there at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    import torch

    from srfoundry.cli.files import Job, Model
    from srfoundry.imaging.tiling import Progress

DEFAULT = "exports/pruned.onnx"


def say(text: str = "") -> None:
    """Print one line for the user."""
    sys.stdout.write(text + "\n")


def upscale(options: argparse.Namespace) -> int:
    """Enlarge an image or a folder."""
    from tqdm import tqdm

    from srfoundry.cli import files
    from srfoundry.core.progress import bar
    from srfoundry.imaging import tiling, user_image

    model, tile, overlap = _model(options)
    tiling.check(tile, overlap)
    jobs = files.plan(options.image, options.out, f"x{model.scale}")
    tiles = {job: tiling.count(*user_image.size(job.source), tile, overlap) for job in jobs}
    if len(jobs) == 1:  # then a bad image is simply the program's error, before any bar
        user_image.check_target(user_image.read(jobs[0].source), jobs[0].target)
    failed = 0
    with bar("upscale", sum(tiles.values())) as progress:
        done = 0

        def tick(_done: int, _total: int) -> None:
            progress.update(1)

        for job, error in files.upscale(jobs, model, tile=tile, overlap=overlap, progress=tick):
            done += tiles[job]
            progress.update(done - progress.n)  # an image that failed counts as done
            progress.set_postfix_str(job.source.name)
            if error is not None:
                failed += 1
                tqdm.write(f"error: {error}", file=sys.stderr)
    if failed:
        return _failed(failed, jobs)
    say(f"{jobs[0].target if len(jobs) == 1 else _below(jobs)}  (x{model.scale})")
    return 0


def restore_blindly(options: argparse.Namespace) -> int:
    """Estimate the kernel, adapt, restore: an image or a folder."""
    from tqdm import tqdm

    from srfoundry.cli import blind_restoration, files
    from srfoundry.cli.restorers.restorer import RestoreOptions

    jobs = files.plan(options.image, options.out, "restored")
    names = ("model", "params", "kernel", "convention", "steps", "close", "decimation", "scale")
    noise = None if options.noise is None else options.noise / 255
    chosen = RestoreOptions(
        **{name: getattr(options, name) for name in names}, noise=noise, device=_device(options.device)
    )
    if not options.image.is_dir():
        for line in blind_restoration.restore_file(jobs[0], blind_restoration.Restoration.load(chosen), _ticker):
            say(line)
        return 0
    failed = 0
    for _, lines, error in blind_restoration.restore_files(jobs, chosen):
        failed += error is not None
        tqdm.write("\n".join(lines) if error is None else f"error: {error}", file=sys.stdout if lines else sys.stderr)
    if failed:
        return _failed(failed, jobs)
    say(_below(jobs))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Make photographs small, enlarge them with the model, and draw the two beside the original."""
    from srfoundry.imaging import images, resize, tiling
    from srfoundry.reporting import pictures

    model, tile, overlap = _model(options)
    rows = []
    for path in options.images:
        high = images.read(path)
        high = high[..., : high.shape[-2] // model.scale * model.scale, : high.shape[-1] // model.scale * model.scale]
        # The model sees what a file would hold: 8 bits.
        low = images.from_uint8(images.to_uint8(resize.cubic(high, 1 / model.scale)))
        restored = tiling.tiled(model.run, low, model.scale, tile=tile, overlap=overlap)
        rows.append((low, {"srfoundry": restored}, high, None))
    pictures.hero(options.out, rows)
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


def register(options: argparse.Namespace) -> int:
    """Register the family in exports/: into a new registry, or after one that did not answer."""
    from srfoundry.config import params

    _registry()
    from srfoundry.tracking.registering import Place, register_family

    chosen = params.load(options.params).export
    name = options.name or chosen.registered_model
    held_out = options.params.parent / "data/synthesize/held_out"
    place = Place(options.exports, held_out, name, chosen.least_gain)
    for member, found in register_family(place, new=options.new):
        say(f"{member} is version {found.version}, {found.alias}: {found.reason}")
    return 0


def bring(options: argparse.Namespace) -> int:
    """Make a checkpoint of this house from published weights."""
    import hashlib

    from srfoundry.networks import published_weights
    from srfoundry.networks.zoo import architectures, cards

    target = options.out or Path(f"{options.known}.safetensors")
    if target.suffix != ".safetensors":
        raise FoundryError(f"--out must be a .safetensors file, got {target}; name one")
    if target.resolve() == options.file.resolve():
        raise FoundryError(f"the result would replace its own source {target}; name another place with --out")
    net, arch = published_weights.from_authors(
        published_weights.read_foreign(options.file), architectures.published()[options.known]
    )
    digest = hashlib.sha256(options.file.read_bytes()).hexdigest()[:16]  # in the place of a stage's parameters
    made_by = f"import {options.known}"
    cards.save(target, net, arch=arch, scale=arch["scale"], made_by=made_by, params_hash=digest)
    say(f"{target}  ({options.known}, {sum(weight.numel() for weight in net.parameters()):,} parameters)")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print a model's card."""
    import dataclasses

    path = _find(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry.networks.zoo import cards

        card: Any = cards.read_card(path)
    else:
        from srfoundry.deployment.session import Session

        card = Session(path, threads=1, device="cpu").card
    say(json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True))
    return 0


def _model(options: argparse.Namespace) -> "tuple[Model, int, int]":
    """The model that the options name, with its tile and overlap."""
    path = _find(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry.cli.files import TILE, TorchModel

        device = _device(options.device)
        model: Any = TorchModel(path, device)
        tile, overlap = TILE, model.overlap
    else:
        from srfoundry.deployment.session import Session

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


def _ticker(title: str) -> "Progress":
    """Return what moves a bar to (done, in all); the bar comes with the first call and ends with the last."""
    from srfoundry.core.progress import bar

    bars: list[Any] = []

    def tick(done: int, total: int) -> None:
        if not bars:
            bars.append(bar(title, total))
        bars[0].update(done - bars[0].n)
        if done == total:
            bars[0].close()

    return tick


def _failed(failed: int, jobs: "Sequence[Job]") -> int:
    """The exit status, after a last line where the images of a folder have been named one by one."""
    if len(jobs) > 1:
        sys.stderr.write(f"error: {failed} of {len(jobs)} images were left out (named above); the others are done\n")
    return 1


def _below(jobs: "Sequence[Job]") -> str:
    below = os.path.relpath(os.path.commonpath([job.target.parent.resolve() for job in jobs]))
    return f"{len(jobs)} images below {below}"


def _registry() -> Any:
    """The registry of the project in this folder, or of MLFLOW_TRACKING_URI; MLflow reads these at its import."""
    from srfoundry.tracking import stores

    stores.prepare(Path.cwd())
    stores.settle(os.environ["MLFLOW_TRACKING_URI"], Path.cwd())
    from srfoundry.tracking import registry

    return registry


def _device(name: str) -> "torch.device":
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise FoundryError("device cuda was asked for, got no GPU that torch can see; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
