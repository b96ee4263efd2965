"""What each command of the program does: options in, files and printed lines out. program.py parses.

Heavy imports stay inside the commands that need them, so that `srfoundry --help` is there at once.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from srfoundry.imaging.user_image import Handling
    from srfoundry.runtime.chooser import Chooser
    from srfoundry.runtime.upscaler import Upscaler

DEFAULT = "exports/pruned.onnx"


def say(text: str = "") -> None:
    """Print one line for the user."""
    sys.stdout.write(text + "\n")


def upscale(options: argparse.Namespace) -> int:
    """Enlarge images and folders."""
    from srfoundry.cli import batch, files
    from srfoundry.cli.plan import Naming, plan

    upscaler = _chooser(options) or load_model(options)
    planned = plan(options.images, options.out, Naming(f"x{upscaler.scale}"), existing=options.existing)
    outcomes = files.upscale_files(planned, upscaler, how=_handling(options))
    return batch.report(outcomes, planned, f"  (x{upscaler.scale})")


def restore_blindly(options: argparse.Namespace) -> int:
    """Estimate the kernel, adapt, restore: images and folders."""
    from srfoundry.cli import batch, blind_restoration
    from srfoundry.cli.plan import Naming, plan
    from srfoundry.restoration import devices
    from srfoundry.restoration.restorers.restorer import RestoreOptions

    naming = Naming("restored", beside=blind_restoration.BESIDE)
    read = [] if options.kernel is None else [options.kernel]
    planned = plan(options.images, options.out, naming, existing=options.existing, read=read)
    names = ("model", "params", "kernel", "method", "kernel_error", "convention", "steps", "close", "decimation")
    names += ("linear", "scale", "force")
    noise = None if options.noise is None else options.noise / 255
    chosen = RestoreOptions(
        **{name: getattr(options, name) for name in names},
        noise=noise,
        device=devices.chosen(options.device),
        files=_handling(options),
    )
    return batch.report(blind_restoration.restore_files(planned, chosen), planned)


def models(options: argparse.Namespace) -> int:
    """List the registered versions and their aliases."""
    from srfoundry.runtime import pulling

    rows = pulling.versions()
    lines = [list(rows[0]), *[list(row.values()) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def register(options: argparse.Namespace) -> int:
    """Register the family in exports/: into a new registry, or after one that did not answer."""
    from srfoundry.config import params
    from srfoundry.tracking import fetching

    fetching.registry()
    from srfoundry.tracking.registering import Place, register_family

    chosen = params.load(options.params, over=Path("params.yaml")).export
    name = options.name or chosen.registered_model
    held_out = options.params.parent / "data/synthesize/held_out"
    place = Place(options.exports, held_out, name, chosen.least_gain, chosen.reduced.precision_time)
    for member, found in register_family(place, new=options.new):
        say(f"{member} is {found.standing}: {found.reason}")
    return 0


def promote(options: argparse.Namespace) -> int:
    """Point an alias to a registered version, which stands whatever is registered later."""
    from srfoundry.tracking import fetching

    fetching.registry()
    from srfoundry.tracking import promoting

    for line in promoting.promote(options.version, options.alias):
        say(line)
    return 0


def bring(options: argparse.Namespace) -> int:
    """Make a checkpoint of this project from published weights."""
    import hashlib

    from srfoundry.cli.claiming import claim
    from srfoundry.networks import published_weights
    from srfoundry.networks.zoo import architectures, cards

    name = f"{options.known}.safetensors"
    target = Path(name) if options.out is None else options.out.path / name if options.out.folder else options.out.path
    if target.suffix != ".safetensors":
        raise FoundryError(f"--out must be a .safetensors file, got {target}; name one")
    claim([target], [options.file], existing=options.existing)
    weights = published_weights.read_foreign(options.file)
    try:
        net, arch = published_weights.from_authors(weights, architectures.published()[options.known])
    except FoundryError as error:
        raise FoundryError(f"{options.file}: {error}") from None
    digest = hashlib.sha256(options.file.read_bytes()).hexdigest()[:16]  # in the place of a stage's parameters
    made_by = f"import {options.known}"
    cards.save(target, net, arch=arch, scale=arch["scale"], made_by=made_by, params_hash=digest)
    say(f"{target}  ({options.known}, {sum(weight.numel() for weight in net.parameters()):,} parameters)")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print a model's card."""
    import dataclasses

    path = find_model(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry.networks.zoo import cards

        card: Any = cards.read_card(path)
    else:
        from srfoundry.runtime.session import Session

        card = Session(path, threads=1, device="cpu").card
    say(json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True))
    return 0


def load_model(options: argparse.Namespace) -> "Upscaler":
    """The model that the options name, with its tiles."""
    from srfoundry.runtime.upscaler import Upscaler

    path = find_model(options.model)
    if isinstance(path, Path) and path.suffix == ".safetensors":
        from srfoundry.cli.torch_model import TorchModel
        from srfoundry.restoration import devices
        from srfoundry.restoration.restorers.restorer import TILE

        model, tile = TorchModel(path, devices.chosen(options.device)), options.tile or TILE
        overlap = min(model.overlap, tile // 4) if options.overlap is None else options.overlap
        return Upscaler(model, tile=tile, overlap=overlap)
    return Upscaler.load(path, **_running(options))


def _chooser(options: argparse.Namespace) -> "Chooser | None":
    """What chooses between the members of exports/ or a registered model; None where one model is named."""
    from srfoundry.runtime import chooser

    family = "exports" if options.model is None else options.model.rstrip("/")
    several = os.path.isdir(family) or (family.startswith(chooser.REGISTRY) and not set("@/") & set(family[8:]))
    if options.member is not None and not several:
        raise FoundryError(
            f"--member takes a model out of a family, got {family}, which is none; name a folder or models:/NAME"
        )
    if not several:
        return None
    if options.member not in (None, "auto"):
        options.model = chooser.named(family, options.member)
        return None
    return chooser.Chooser.load(family, **_running(options))


def find_model(name: str | None) -> Path | bytes:
    """The file that --model names, or the bytes of a registered one; exports/pruned.onnx or its like without a name."""
    if name is not None and name.startswith("models:/"):
        from srfoundry.runtime import pulling

        return pulling.pull(name)
    if name is not None:
        path = Path(name)
        if path.suffix not in (".onnx", ".safetensors"):
            raise FoundryError(f"a model is a .onnx or .safetensors file or models:/NAME@alias, got {name}; name one")
        return path
    found = [Path(DEFAULT)] if Path(DEFAULT).exists() else sorted(Path("exports").glob("*.onnx"))
    if not found:
        raise FoundryError("no model: exports/ holds no .onnx file here; run `make repro`, or name one with --model")
    return found[0]


def _running(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("threads", "device", "tile", "overlap")}


def _handling(options: argparse.Namespace) -> "Handling":
    from srfoundry.imaging.user_image import Handling

    return Handling(options.quality, 10**6 * options.largest_megapixels)
