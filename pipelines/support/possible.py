"""What cannot be done with the photographs, networks and machine that are there, found before any stage runs.

Each value is within its range, which params.yaml's reader has checked; its stage would stop, some after minutes of
training. Archives are not looked into: they may not have been fetched yet.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.support.graph import Graph
from pipelines.support.program import say
from srfoundry.config.params import Params
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from srfoundry.compression.budget import Budget
    from srfoundry.compression.settings import BudgetTarget
    from srfoundry.training.settings import PatchDraw

SIZES = Path(".ckpt/sizes.json")  # of files that have not moved since: to look into a large folder takes seconds
BY_WIDTHS = ("drc", "uniform", "random")  # methods whose budget is met by widths of the ladders
BESIDE = {"unfolded": "unfolded"}  # methods of estimation by the stage beside the graph that makes their network

Size = tuple[int, int]  # height and width


def check(root: Path, params: Params) -> None:
    """Stop where a stage of `dvc repro` would; say where one may.

    Args:
        root: of the project.
        params: its values.

    Raises:
        FoundryError: a GPU is asked for that is not there, the photographs cannot be split so or are smaller than a
            patch, or a network cannot lose as much as it should.
    """
    graph = Graph(root)
    _device(graph, params)
    _photographs(graph, params)
    _budgets(graph, params)
    _estimator(graph, params)


def _device(graph: Graph, params: Params) -> None:
    from srfoundry.core.compute import chosen_device

    if _recorded(graph, "synthesize", "shared", "device") != params.shared.device:  # else results came from elsewhere
        chosen_device(params.shared.device)


def _photographs(graph: Graph, params: Params) -> None:
    from srfoundry.data import sources, splits

    chosen = params.synthesize
    source, smallest = chosen.photographs, chosen.photographs.smallest
    if source.source == "archives":
        return
    paths = sources.listed(source, graph.root)
    splits.check_names(paths, chosen.split)
    sizes = _sizes(graph.root, paths)
    usable = {name: size for name, size in sizes.items() if min(size) >= smallest}
    if sizes and not usable:
        most = max(map(min, sizes.values()))
        raise FoundryError(
            f"synthesize.smallest must be {most} or less for these photographs, got {smallest}; lower it"
        )
    if len(usable) < len(sizes) and source.on_bad_image == "stop":
        name = next(name for name in sizes if name not in usable)
        raise FoundryError(
            f"photograph {name} ({_shown(sizes[name])}) is smaller than synthesize.smallest {smallest}; remove it, "
            "lower that, or set synthesize.on_bad_image to skip"
        )
    if usable:
        trained = splits.deal(list(usable), chosen.split, seed=params.shared.seed)["train"]
        _patches(graph, params, {name: usable[name] for name in trained})


def _patches(graph: Graph, params: Params, sizes: dict[str, Size]) -> None:
    """Stop where a photograph that is trained on is smaller than a patch; copies of held-out ones are not known yet."""
    scale = params.shared.scale
    name, size = min(sizes.items(), key=lambda each: min(each[1]))
    least = min(size) // scale * scale  # photographs are cropped so
    sides = [side for side in _sides(params) if side[0].partition(".")[0] in graph.stages]
    wrong = [f"{key} {needed}" for key, needed in sides if needed > least]
    if wrong:
        raise FoundryError(
            f"patches must fit into every photograph that is trained on, {least} pixels for {name} ({_shown(size)}), "
            f"got {', '.join(wrong)}; lower them, hold the photograph out, or leave it out "
            "(synthesize.smallest, with on_bad_image: skip)"
        )


def _sides(params: Params) -> Iterator[tuple[str, int]]:
    """Of the patches of `dvc repro`: what they are called, and the pixels of a photograph that they are cut from."""
    from srfoundry.imaging.scales import reductions

    step = reductions(params.shared.scale)[1]
    yield "pretrain.patch", params.pretrain.training.patch
    yield "metatrain.warmup_patch", params.metatrain.warmup.patch
    if params.metatrain.outer.steps:
        yield "metatrain.patch", params.metatrain.draw.patch
    draws: dict[str, PatchDraw] = {
        "dual": params.dual.draw,
        "search": params.search.draw,
        "prune": params.prune.draw,
        "photo": params.photo.draw,
    }
    for name, draw in draws.items():
        halved = f" times {step} where octave shows photographs smaller:"
        yield (
            (f"{name}.patch {draw.patch}{halved}", step * draw.patch) if draw.halved else (f"{name}.patch", draw.patch)
        )
    if params.nonblind.draw.halved < params.nonblind.draw.batch:  # smaller ones are shown of large photographs alone
        yield "nonblind.patch", params.nonblind.draw.patch
        yield "nonblind.sample_patch", params.nonblind.collection.sample_patch


def _sizes(root: Path, paths: list[tuple[str, Path]]) -> dict[str, Size]:
    """Height and width of the pictures by name, as their headers say; one that cannot be read has none."""
    from srfoundry.data import sources
    from srfoundry.imaging import decoding

    try:
        known: dict[str, list[int]] = json.loads((root / SIZES).read_text())
    except (OSError, ValueError):
        known = {}
    found, seen = dict[str, Size](), dict[str, list[int]]()
    for shown, path in paths:
        where = str(path.absolute())
        try:
            status = path.stat()
            mark = [status.st_size, status.st_mtime_ns]
            seen[where] = known[where] if known.get(where, [])[:2] == mark else [*mark, *decoding.size(path)]
        except (FoundryError, OSError):  # synthesize stops at it or leaves it out, by name
            continue
        found[sources.named(shown)] = (seen[where][2], seen[where][3])
    write_bytes(root / SIZES, json.dumps(seen).encode())
    return found


def _shown(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _budgets(graph: Graph, params: Params) -> None:
    from srfoundry.networks.zoo.architectures import build

    search, compress = params.search, params.compress
    targets = [("search.remove", params.dual, search.target, "search.multiple")]
    for stage in graph.stages if compress.method in BY_WIDTHS else ():
        name, _, percent = stage.partition("@")
        if name in ("compress", "photo_compress") and percent.isdecimal():
            target = compress.over(search, params.degrade, remove=int(percent) / 100).target
            dense = params.dual if name == "compress" else params.photo.over(params.dual)
            targets.append((f"{stage} of dvc.yaml", dense, target, "compress.multiple"))
    for key, dense, target, multiple in targets:
        net: Any = build(dense.archs(params.shared.scale)[0])
        if not net.units():
            name = "photo" if key.startswith("photo") else "dual"
            raise FoundryError(
                f"{name}.network must name widths that {key} can narrow, got {dense.network}, whose units() are none; "
                f"name some there, or train it by itself: python -m pipelines.{name}"
            )
        found = _budget(net, target)
        if found is not None and found.most() < target.remove:
            raise FoundryError(
                f"{key} must be {found.most():.3f} or less of the {target.measure} with {multiple} {target.multiple} "
                f"and {dense.network} of width {dense.width}, got {target.remove}; ask for less, lower {multiple}, or "
                "take a wider network"
            )


def _budget(net: Any, target: "BudgetTarget") -> "Budget | None":
    """What a network may lose; None where that is measured."""
    import torch

    from srfoundry.compression.budget import Budget, ladders_of

    if target.measure == "latency":
        return None
    ladders = ladders_of(net, net.units(), target.multiple)
    if target.measure == "parameters":
        return Budget.parameters(net, net.units(), ladders)
    from srfoundry.compression.recipe import SIDE

    return Budget.multiplications(net, net.units(), ladders, torch.zeros(1, 3, SIDE, SIDE))


def _estimator(graph: Graph, params: Params) -> None:
    """Say, and no more, that a network is missing: what makes it runs `environment` first."""
    method = params.estimate.method
    stage = BESIDE.get(method)
    if stage is None:
        return
    path = f"models/{stage}.safetensors"
    if not (graph.root / path).exists():
        say(
            f"estimate.method {method} needs {path}, got none: the stage estimate would stop; run first: "
            f"dvc repro graphs/{stage}/dvc.yaml"
        )


def _recorded(graph: Graph, stage: str, section: str, key: str) -> Any:
    """A value that dvc.lock has of a stage's last run; None where there was none."""
    found: Any = graph.lock.get(stage, {})
    for name in ("params", "params.yaml", section, key):
        found = found.get(name) if isinstance(found, dict) else None
    return found
