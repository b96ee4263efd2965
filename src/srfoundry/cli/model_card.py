"""The command `card`: a model as a folder to publish, with a card for people."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from srfoundry.cli.commands import DEFAULT, find_model, say
from srfoundry.cli.place import Place, check_apart, check_nothing_lost
from srfoundry.core import cores
from srfoundry.core.errors import FoundryError

OWN = {"README.md", "config.json", "model.onnx", "before_after.png"}

CARD = """Writes a folder to publish a model from, laid out as model hubs such as Hugging Face have them.

README.md says what the model is, what it was trained on, what it gains and where it fails, measured here on the
held-out photographs in --data; on top it has what hubs index. Beside it: model.onnx, config.json (the card inside the
model) and, where the photographs are the bundled ones, whose licences allow it, a picture. Nothing is sent anywhere. A
folder that is there is replaced with --overwrite, if it holds nothing else."""


def options(parser: argparse.ArgumentParser, whole: Any) -> None:
    """Add the command's options.

    Args:
        parser: of the command.
        whole: makes a type of a least and a most whole number.
    """
    add = parser.add_argument
    add("--model", help=f"a .onnx file, or models:/NAME@champion (default: {DEFAULT})")
    add("--out", type=Place.of, default="card", help="folder to write (default: %(default)s/)")
    add("--overwrite", dest="existing", action="store_const", const="overwrite", default="refuse", help="replace it")
    add("--name", help="that it is published under, such as me/photographs-x2 (default: srfoundry-MODEL-xSCALE)")
    add("--licence", default="unknown", help="as hubs spell it: mit, cc0-1.0, ... (default: %(default)s)")
    add("--data", type=Path, default=Path("data/synthesize"), help="of the factory (default: %(default)s)")
    add("--threads", type=whole(1, max(64, cores.usable())), default=1, help="CPU threads (default: %(default)s)")


def card(options: argparse.Namespace) -> int:
    """Measure a model on the held-out photographs and write its folder."""
    from srfoundry.deployment.model_card import folder, gathering
    from srfoundry.reporting import before_after
    from srfoundry.runtime.session import Session

    found, target = find_model(options.model), options.out.path
    if isinstance(found, Path) and found.suffix != ".onnx":
        raise FoundryError(f"a card is of an exported model, got {found}; name a .onnx file")
    check_apart(target)
    if target.is_file():
        raise FoundryError(f"{target} is a file; name a new folder with --out")
    if target.is_dir():
        check_nothing_lost(target, {path.name for path in target.iterdir()} - OWN)
    if target.is_dir() and options.existing != "overwrite":
        raise FoundryError(f"{target} is there already; --overwrite replaces it")
    blob = found if isinstance(found, bytes) else found.read_bytes() if found.is_file() else b""
    session = Session(found, threads=options.threads, device="cpu")
    facts = replace(gathering.gather(session, len(blob), options.data), licence=options.licence)
    picture = before_after.drawn(session, options.data / "held_out", facts.held_out) if facts.bundled else None
    name = options.name or f"srfoundry-{session.card.name}-x{session.scale}"
    files = folder.write(target, blob, facts, name, picture)
    say(f"{target}  ({', '.join(files)}; {len(facts.rows)} rows of figures)")
    if not facts.rows:
        say(f"no held-out photographs in {options.data}: the figures are those that the model carries")
    return 0
