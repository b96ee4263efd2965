"""The command `compare`: what models give back of photographs made small, or make of photographs that are small."""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srfoundry.cli.commands import DEFAULT, load_model, say
from srfoundry.core.errors import FoundryError, one_line

if TYPE_CHECKING:
    from srfoundry.imaging.looks import Look
    from srfoundry.runtime.upscaler import Upscaler

COMPARE = """Makes photographs small, enlarges them again with one or more models, draws them beside the original and
prints PSNR and SSIM (on Y) and NIQE of each.

With --real the photographs are taken as they are, for nobody has their originals: the picture then shows each one's
busiest window as it is, enlarged bicubically and by each model, and NIQE alone is printed, with mean, median and worst
of several. NIQE (Mittal et al. 2013) is the distance of an image's statistics from those of undamaged photographs:
smaller is more natural. It does not know what was there, and likes grain better than smoothness: look at the picture.
Without --model and --beside, --real compares exports/pruned.onnx with exports/photo50.onnx or photo.onnx.

Columns: dB, 0 to 1, and 0 upwards; - where an image is too small to have a NIQE (twice 96 x 96 pixels, enlarged)."""
SCORES = {"psnr_y": ("PSNR-Y", 2), "ssim_y": ("SSIM-Y", 4), "niqe": ("NIQE", 2)}
DRAWN = 24  # rows of a picture
MEMBERS = (DEFAULT, "exports/photo50.onnx", "exports/photo.onnx")  # of --real: the first, and the first of the others


def options(parser: argparse.ArgumentParser) -> None:
    """What the command takes beside --overwrite and what `upscale` takes of models."""
    add = parser.add_argument
    add("images", type=Path, nargs="+", help="sharp photographs, or folders of them; with --real small ones")
    add("--real", action="store_true", help="enlarge the photographs as they are; there are no originals")
    add("--beside", action="append", default=[], metavar="MODEL", help="a further model to show (may be repeated)")


def compare(options: argparse.Namespace) -> int:
    """Enlarge photographs with each model, print figures, and draw them beside what they were made from."""
    from srfoundry.cli import batch
    from srfoundry.cli.claiming import claim
    from srfoundry.cli.plan import Job, Plan, images_of
    from srfoundry.imaging import formats

    place = options.out
    target = place.path / "before_after.png" if place.folder else place.path
    formats.format_of(target)
    photographs, others = images_of(options.images)
    claim([target], photographs, existing=options.existing)
    upscalers, names = _upscalers(options), _names(photographs)
    planned = Plan([Job(path, target) for path in photographs], len(photographs) > 1, left_out=others)
    rows, scores, errors = list["Look"](), dict[str, Any](), []

    def work(job: Job) -> "tuple[Look, dict[str, dict[str, float]]]":
        made = _look(job.source, names[job.source], upscalers, real=options.real)
        return made, made.scores()

    batch.remark(planned)
    for job in planned.jobs:
        _, made, error = batch.attempt(job, work, batch=planned.batch, advice="run smaller tiles with --tile")
        if made is not None:
            rows += [made[0]] if len(rows) < DRAWN else []  # an album's images would not fit into memory
            scores[made[0].name] = made[1]
        elif error is not None and planned.batch:
            errors.append(error)
            sys.stderr.write(f"error: {one_line(str(error))}\n")
        elif error is not None:
            raise error
    if rows:
        _tell(scores)
        _, _, error = batch.attempt(
            planned.jobs[0], lambda _: _draw(target, rows, scores, list(upscalers)), batch=False
        )
        if error is not None:
            raise error
        say(f"{target}  (the first {DRAWN} of {len(scores)})" if len(scores) > DRAWN else str(target))
    return batch.failed(errors, planned)


def _names(photographs: Sequence[Path]) -> dict[Path, str]:
    """What each is called in the table: its file's name, or its path where several have that name."""
    counted = Counter(path.name for path in photographs)
    return {path: path.name if counted[path.name] == 1 else path.as_posix() for path in photographs}


def _upscalers(options: argparse.Namespace) -> "dict[str, Upscaler]":
    """The models by the names that they are shown under."""
    chosen = [*([options.model] if options.model else []), *options.beside]
    if options.real and not chosen:
        there = [name for name in MEMBERS if Path(name).exists()]
        chosen = there[:2]
    elif not options.model:
        chosen = [None, *chosen]
    upscalers: dict[str, Any] = {}
    for name in chosen or [None]:
        upscaler = load_model(argparse.Namespace(**{**vars(options), "model": name}))
        upscalers["srfoundry" if len(chosen) < 2 else _called(name or DEFAULT, upscalers)] = upscaler
    scales = {name: upscaler.scale for name, upscaler in upscalers.items()}
    if len(set(scales.values())) > 1:
        raise FoundryError(f"models must enlarge by one scale to be compared, got {scales}; name models of one scale")
    return upscalers


def _called(name: str, taken: Mapping[str, Any]) -> str:
    """exports/photo.onnx is photo, models:/srfoundry@photo is @photo; what is taken already is named in full."""
    short = f"@{name.rpartition('@')[2]}" if name.startswith("models:/") and "@" in name else Path(name).stem
    if short in taken and name in taken:
        raise FoundryError(f"{name} is named twice; name each model once")
    return name if short in taken or short == "bicubic" else short


def _look(path: Path, name: str, upscalers: "Mapping[str, Upscaler]", *, real: bool) -> "Look":
    import torch

    from srfoundry.imaging import images, looks, resize

    low, high, scale = images.read(path), None, next(iter(upscalers.values())).scale
    if not real:
        height, width = (extent // scale * scale for extent in low.shape[-2:])
        if not height * width:
            raise FoundryError(f"{path} is smaller than the scale {scale}; take a larger photograph")
        high = low[..., :height, :width]
        # The model's input is what a file would hold: 8 bits.
        low = images.from_uint8(images.to_uint8(resize.cubic(high, 1 / scale)))
    members = {name: lambda low, by=by: torch.from_numpy(by.floats(low)) for name, by in upscalers.items()}
    return looks.look(name, low, members, scale, high)


def _draw(target: Path, rows: "Sequence[Look]", scores: Mapping[str, Any], models: Sequence[str]) -> None:
    from srfoundry.reporting import looks, pictures

    if rows[0].high is None:
        looks.sheet(target, rows, [scores[look.name] for look in rows])
    else:
        shown = [(look.low, {name: look.shown[name] for name in models}, look.high, None) for look in rows]
        pictures.hero(target, shown)


def _tell(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print a row for each image and method; of several images their means, and of NIQE median and worst as well."""
    methods = list(next(iter(scores.values())))
    kinds = [kind for kind in SCORES if any(kind in row for each in scores.values() for row in each.values())]
    lines = [["image", "method", *[SCORES[kind][0] for kind in kinds]]]
    for image, each in scores.items():
        lines += [[image, method, *[_number(kind, each[method].get(kind)) for kind in kinds]] for method in methods]
    if len(scores) > 1:
        for method in methods:
            values = {kind: [each[method][kind] for each in scores.values() if kind in each[method]] for kind in kinds}
            means = [_number(kind, statistics.fmean(values[kind])) for kind in kinds]
            lines.append(["mean", method, *means])
            if values.get("niqe"):
                middle, worst = statistics.median(values["niqe"]), max(values["niqe"])
                lines[-1].append(f"(median {middle:.2f}, worst {worst:.2f})")
    widths = [max(len(line[column]) for line in lines) for column in range(2 + len(kinds))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        say("  ".join([*cells, *line[len(widths) :]]).rstrip())


def _number(kind: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{SCORES[kind][1]}f}"
