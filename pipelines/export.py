"""The family of networks become ONNX files with cards, proven equal to PyTorch; the pruned ones are registered."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support import settings
from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from torch import Tensor

SEEN = 4  # photographs on which tiles are measured


def export(stage: Stage) -> None:
    """Export to ONNX with free height and width, compare with PyTorch, register; an alias never gets worse."""
    from functools import partial

    from srfoundry.core.atomic import kept_files, published
    from srfoundry.deployment import overlap, precision, web
    from srfoundry.deployment.export import describe, write
    from srfoundry.deployment.held_out import HeldOut
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.family import BLIND, FAMILY, PHOTOGRAPHS, REDUCED, judged_on
    from srfoundry.runtime.session import BICUBIC

    chosen, scored = stage.params.export, json.loads(stage.input("results/evaluate/metrics.json").read_text())
    scores = {test: scored[test] for test in (BICUBIC, *BLIND) if test in scored}
    data_hash = stage.digests["data/synthesize"].removesuffix(".dir")
    pictures = [window.numpy() for window in _windows(stage, overlap.WINDOW)]
    sets, kept = stage.input("data/synthesize"), stage.checkpoint.with_suffix("")
    judges = {BICUBIC: precision.Judge(_windows(stage, precision.WINDOW * stage.scale), stage.scale)}
    judges |= {PHOTOGRAPHS: precision.Judge.of_set(sets / "validation_sets", stage.scale, PHOTOGRAPHS, SEEN)}

    def member(name: str, folder: Path) -> dict[str, Any]:
        net, made = cards.load(stage.input(f"models/{FAMILY[name]}.safetensors"))
        judge, rows = judges[judged_on(name)], {each: rows[name] for each, rows in scores.items() if name in rows}
        found = HeldOut(sets / "held_out", stage.scale, test=judged_on(name)).said(rows)
        card = describe(net, made, chosen.target, pictures=pictures, name=name, data_hash=data_hash, metrics=found)
        written = write(net, card, path := folder / f"{name}.onnx", chosen.parity)
        return {
            "parity_max_abs": written.worst,
            "bytes": path.stat().st_size,
            "parameters": card.parameters,
            "opset": written.card.opset,
            "overlap": card.overlap,
            "tile_error": card.tile_error,
            "reduced": precision.beside(path, judge, chosen.reduced) if name in REDUCED else {},
        }

    with published(stage.output("exports")) as folder:
        figures = {name: kept_files(kept / name, stage.key, partial(member, name), folder) for name in FAMILY}
        if chosen.web:
            files = [folder / f"{name}.onnx" for name in chosen.web]
            web.write(files, folder / "web", web.fetch(stage.root / "downloads"))
    stage.metrics({"parity_max_abs": max(figure["parity_max_abs"] for figure in figures.values()), **figures})
    if not stage.place.trial and settings.machine().registration:  # a trial's models take no alias from the project's
        _register(stage)


def _windows(stage: Stage, side: int) -> "list[Tensor]":
    """The busiest window of each of the first validation photographs: tiles and precisions are measured on them."""
    from srfoundry.imaging import windows
    from srfoundry.imaging.patches import Patches

    photographs = Patches.open(stage.input("data/synthesize/validation"))
    images = map(photographs.image, photographs.photographs()[:SEEN])
    return [windows.crop(image, windows.busiest(image, side, energy="edges")) for image in images]


def _register(stage: Stage) -> None:
    """Register the family. A registry that does not answer costs nothing but a line: the files are what counts."""
    from srfoundry.core.errors import FoundryError
    from srfoundry.tracking.registering import Place, register_family

    chosen = stage.params.export
    limits = (chosen.least_gain, chosen.reduced.precision_time)
    place = Place(stage.root / "exports", stage.root / "data/synthesize/held_out", chosen.registered_model, *limits)
    try:
        for name, registered in register_family(place, run_id=None if stage.run is None else stage.run.id):
            stage.note(f"{name} is {registered.standing}: {registered.reason}")
            if stage.run is not None:  # never into metrics.json: the registry's state is no function of the inputs
                stage.run.tag("registered" if name == "pruned" else f"registered.{name}", registered.standing)
    except FoundryError as error:
        stage.note(f"not registered: {error}; later: srfoundry register")


if __name__ == "__main__":
    main(export)
