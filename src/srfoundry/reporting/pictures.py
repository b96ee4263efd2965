"""Pictures for people: crops side by side, kernels, quality against size.

Crops are laid out pixel by pixel with Pillow; plots are drawn with matplotlib, imported only when needed and without
its global state. The same values give the same bytes: no dates, versions or random layouts enter a file.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from srfoundry.core.atomic import replacing
from srfoundry.imaging import decoded, formats, images, metrics, resize, windows
from srfoundry.imaging.windows import Box
from srfoundry.reporting import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER = "#202020", "#ffffff"
MARGIN, LINE = 8, 18  # pixels
DPI = 110  # of figures
QUALITY = 85  # of JPEG and WebP, where the name asks for one


def comparison(
    path: Path,
    low: Float[Tensor, "1 3 h w"],
    restored: Mapping[str, Float[Tensor, "1 3 H W"]],
    high: Float[Tensor, "1 3 H W"] | None,
    *,
    box: Box | None = None,
    zoom: int = 3,
) -> None:
    """Write one row: low resolution, bicubic, each restored image and the truth, cropped to `box`, with PSNR-Y.

    `box` defaults to the window of 96 pixels with most detail. Without `high` the captions carry no PSNR.
    """
    _save(_row(low, restored, high, box, zoom), path)


def hero(
    path: Path, rows: Sequence[tuple[Tensor, Mapping[str, Tensor], Tensor | None, Box | None]], zoom: int = 2
) -> None:
    """Write several comparisons (low, restored, high, box) under each other: the picture at the top of the README."""
    _save(_stack([_row(low, restored, high, box, zoom, 144) for low, restored, high, box in rows]), path)


def pairs(path: Path, rows: Sequence[tuple[Tensor, Mapping[str, Tensor]]], zoom: int = 2) -> None:
    """Write, for each photograph, its busiest crop and the same crop of each low-resolution image made of it."""
    drawn = []
    for high, lows in rows:
        box = windows.busiest(high, 144, energy="edges")
        panels = {name: _crop(_repeat(low, high), box, zoom) for name, low in lows.items()}
        drawn.append(_strip({"original": _crop(high, box, zoom), **panels}))
    _save(_stack(drawn), path)


def sheet(path: Path, rows: Sequence[tuple[str, Mapping[str, Tensor]]], window: int = 144, zoom: int = 2) -> None:
    """Write one row an image: a title, and below it the busiest window of its versions, each under its caption.

    Args:
        path: of the picture.
        rows: title, and images of one size by caption; the last of them decides which window is the busiest.
        window: pixels a side.
        zoom: by which pixels are repeated.
    """
    drawn = []
    for title, shown in rows:
        box = windows.busiest(list(shown.values())[-1], window, energy="edges")
        strip = _strip({caption: _crop(image, box, zoom) for caption, image in shown.items()})
        drawn += [_titled(title, strip.width), strip]
    _save(_stack(drawn), path)


def repeated(low: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c H W"]:
    """Every pixel as a square of `scale` pixels a side."""
    return low.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)


def kernels(path: Path, named: Mapping[str, Float[Tensor, "*n k k"]]) -> None:
    """Write blur kernels beside each other on one scale, eight in a row, names below; brighter is heavier.

    A bar in each shows how long some high-resolution pixels are.
    """
    columns = min(len(named), 8)
    rows = -(-len(named) // columns)
    figure = _figure(2.2 * columns, 2.5 * rows)
    flat = {name: kernel.detach().cpu().reshape(kernel.shape[-2:]) for name, kernel in named.items()}
    brightest = max(float(kernel.max()) for kernel in flat.values())
    for index, (name, kernel) in enumerate(flat.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(kernel.numpy(), cmap="magma", vmin=0.0, vmax=brightest, interpolation="nearest")
        axes.set_xlabel(name, fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        _scale_bar(axes, kernel.shape[-1])
    figures.save(figure, path, dpi=DPI)


def _scale_bar(axes: "Axes", taps: int) -> None:
    """A bar of as many pixels as fit into a third of the kernel, with its length."""
    length = max(each for each in (1, 2, 5, 10, 20) if each <= max(1, taps / 3))
    left, low = 0.04 * taps, 0.93 * taps
    axes.plot([left, left + length], [low, low], color="white", linewidth=2, solid_capstyle="butt")
    axes.text(left, low - 0.03 * taps, f"{length} px", color="white", fontsize=7, va="bottom")
    axes.set(xlim=(-0.5, taps - 0.5), ylim=(taps - 0.5, -0.5))


def scatter(path: Path, points: Mapping[str, tuple[float, float]], title: str) -> None:
    """Write PSNR-Y in dB (second value) over parameters (first value) of the named models."""
    figure = _figure(5.0, 3.4)
    axes = figure.add_subplot(1, 1, 1)
    for name, (parameters, psnr) in points.items():
        axes.scatter([parameters], [psnr], s=28)
        axes.annotate(name, (parameters, psnr), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR-Y, dB")
    axes.margins(0.2)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    figures.save(figure, path, dpi=DPI)


def lines(path: Path, series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> None:
    """Write named lines through points; the horizontal axis is logarithmic."""
    figure = _figure(6.0, 4.0)
    axes = figure.add_subplot(1, 1, 1)
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figures.save(figure, path, dpi=DPI)


def blind(
    path: Path,
    low: Float[Tensor, "1 3 h w"],
    shown: Mapping[str, Float[Tensor, "1 3 H W"]],
    kernel: Float[Tensor, "1 k k"],
    caption: str,
    where: Float[Tensor, "1 3 p q"] | None = None,
) -> None:
    """Write the busiest crop of the low-resolution image, the kernel, and that crop of the large images.

    The last of them decides which crop is the busiest. `where`, if there is one, is a map of the blur, shown whole.
    """
    large = list(shown.values())[-1]
    box = windows.busiest(large, 128, energy="edges")
    shade = kernel.detach().cpu()[None] / kernel.max().cpu()
    panels = {
        "low resolution": _crop(_repeat(low, large), box, 3),
        caption: _fit(images.to_uint8(shade.expand(1, 3, -1, -1)), 384),
        **{name: _crop(image, box, 3) for name, image in shown.items()},
    }
    if where is not None:
        panels["where it is blurred"] = _fit(images.to_uint8(where), 384)
    _save(_strip(panels), path)


def skipped(
    path: Path, used: int, left_out: Mapping[str, str], alike: Sequence[Sequence[tuple[str, Path]]], most: int = 40
) -> None:
    """Write which photographs were left out and why, and which show one scene and so stay on one side of the split.

    Args:
        used: how many photographs were taken.
        left_out: name and reason.
        alike: groups of names and files; each is drawn as a row of small pictures.
        most: reasons and groups that are drawn; the rest is counted.
    """
    font = ImageFont.load_default(13)
    reasons = [f"{name}: {why}" for name, why in left_out.items()]
    lines = [f"{used} photographs used, {len(reasons)} left out", *_cut(reasons, most)]
    strips = [_strip({name: _thumbnail(file) for name, file in group[:8]}) for group in alike[:most]]
    if alike:
        lines += ["", "photographs of one scene, which stay on one side of the split:"]
    wrapped = [part for line in lines for part in textwrap.wrap(line, 110) or [""]]
    text = Image.new("RGB", (800, MARGIN * 2 + LINE * len(wrapped)), PAPER)
    draw = ImageDraw.Draw(text)
    for index, line in enumerate(wrapped):
        draw.text((MARGIN, MARGIN + LINE * index), line, fill=INK, font=font)
    _save(_stack([text, *strips]), path)


def _stack(drawn: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (max(row.width for row in drawn), sum(row.height for row in drawn)), PAPER)
    top = 0
    for row in drawn:
        whole.paste(row, (0, top))
        top += row.height
    return whole


def _cut(lines: Sequence[str], most: int) -> list[str]:
    return [*lines[:most], f"... and {len(lines) - most} more"] if len(lines) > most else list(lines)


def _thumbnail(path: Path) -> Image.Image:
    picture = Image.fromarray(decoded.read(path))
    picture.thumbnail((160, 160))
    return picture


def _row(
    low: Tensor, restored: Mapping[str, Tensor], high: Tensor | None, box: Box | None, zoom: int, window: int = 96
) -> Image.Image:
    first = next(iter(restored.values()))
    box = box or windows.busiest(first if high is None else high, window, energy="edges")
    scale = first.shape[-1] // low.shape[-1]
    shown = {"bicubic": resize.cubic(low, scale), **restored}
    panels = {"low resolution": _crop(_repeat(low, first), box, zoom)}
    for name, image in shown.items():
        score = "" if high is None else f"  {metrics.psnr_y(image, high, scale):.2f} dB"
        panels[name + score] = _crop(image, box, zoom)
    if high is not None:
        panels["original"] = _crop(high, box, zoom)
    return _strip(panels)


def _repeat(low: Tensor, like: Tensor) -> Tensor:
    return repeated(low, like.shape[-1] // low.shape[-1])


def _titled(title: str, width: int) -> Image.Image:
    line = Image.new("RGB", (width, LINE + MARGIN), PAPER)
    ImageDraw.Draw(line).text((MARGIN, MARGIN), title, fill=INK, font=ImageFont.load_default(14))
    return line


def _crop(image: Tensor, box: Box, zoom: int) -> Image.Image:
    pixels = images.to_uint8(windows.crop(image, box))
    picture = Image.fromarray(pixels[0].cpu().numpy())
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def _fit(pixels: Tensor, side: int) -> Image.Image:
    picture = Image.fromarray(pixels[0].numpy())
    return picture.resize((side, side), Image.Resampling.NEAREST)


def _strip(panels: Mapping[str, Image.Image]) -> Image.Image:
    font = ImageFont.load_default(13)
    width = sum(panel.width + MARGIN for panel in panels.values()) + MARGIN
    height = max(panel.height for panel in panels.values()) + LINE + 2 * MARGIN
    strip = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(strip)
    left = MARGIN
    for name, panel in panels.items():
        draw.text((left, MARGIN - 2), name, fill=INK, font=font)
        strip.paste(panel, (left, MARGIN + LINE))
        left += panel.width + MARGIN
    return strip


def _save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as partial:
        chosen = formats.options(path, quality=QUALITY)
        small = {"optimize": path.suffix == ".jpg"}  # PNG: ten times the time for 2 % of the bytes
        formats.save(picture, partial, chosen | small)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
