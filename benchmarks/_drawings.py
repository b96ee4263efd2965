"""Drawings as people have them, made by program: writing, charts, icons, maps, cartoons, tables, codes, patterns.

By other means than `srfoundry.imaging.drawings`, which the classifier learns from: other fonts and other scenes.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from srfoundry.imaging import images

SIDE, FINER = 384, 4  # pixels, and points a pixel of what has smooth edges
FONTS = ("DejaVuSans", "DejaVuSerif-Bold", "DejaVuSansMono", "DejaVuSans-Oblique")
WORDS = "the quick brown fox jumps over a lazy dog while every page shows another table of numbers 1234 5678 90".split()
Rng = np.random.Generator
Draw = ImageDraw.ImageDraw


def drawings(seed: int) -> Iterator[tuple[str, Tensor]]:
    """27 drawings with their names, 384 x 384, range [0, 1]; other seeds give others of the same kinds."""
    for name, draw in _KINDS.items():
        page = draw(np.random.default_rng([seed, *name.encode()]))
        yield name, images.rgb(page.convert("RGB"))


def _font(rng: Rng, size: float) -> ImageFont.FreeTypeFont:
    folder = Path(mpl.get_data_path()) / "fonts/ttf"
    return ImageFont.truetype(folder / f"{FONTS[rng.integers(len(FONTS))]}.ttf", size)


def _colour(rng: Rng, least: int = 0) -> tuple[int, int, int]:
    red, green, blue = rng.integers(least, 256, 3).tolist()
    return red, green, blue


def _smooth(draw: Callable[[Draw, int, Rng], None], rng: Rng) -> Image.Image:
    """Drawn at four times the size and reduced by the means of blocks."""
    page = Image.new("RGB", (SIDE * FINER, SIDE * FINER), "white")
    draw(ImageDraw.Draw(page), FINER, rng)
    return page.resize((SIDE, SIDE), Image.Resampling.BOX)


def _text(size: int, ink: str, paper: str) -> Callable[[Rng], Image.Image]:
    def made(rng: Rng) -> Image.Image:
        page, font = Image.new("RGB", (SIDE, SIDE), paper), _font(rng, size)
        for y in range(8, SIDE - size, int(1.5 * size)):
            ImageDraw.Draw(page).text((8, y), " ".join(rng.choice(WORDS, 240 // size + 3)), fill=ink, font=font)
        return page

    return made


def _cells(cell: int, ink: str, paper: str, *, random: bool = False) -> Callable[[Rng], Image.Image]:
    """Chequers, or a code of random cells within a white rim."""

    def made(rng: Rng) -> Image.Image:
        count = SIDE // cell
        dark = np.add.outer(np.arange(count), np.arange(count)) % 2 == 0
        if random:
            dark = np.pad(rng.random((count - 6, count - 6)) < 0.5, 3)
        cells = Image.fromarray(np.uint8(255 * dark)).resize((count * cell, count * cell), Image.Resampling.NEAREST)
        page = Image.new("RGB", (SIDE, SIDE), paper)
        page.paste(ink, (0, 0), cells)
        return page

    return made


def _stripes(width: int, angle: float) -> Callable[[Rng], Image.Image]:
    def made(rng: Rng) -> Image.Image:
        down, across = np.mgrid[:SIDE, :SIDE]
        dark = (across * math.cos(angle) + down * math.sin(angle)) // width % 2 == 0
        return Image.fromarray(np.where(dark, int(rng.integers(60)), 255 - int(rng.integers(60))).astype(np.uint8))

    return made


def _barcode(rng: Rng) -> Image.Image:
    page, x = Image.new("L", (SIDE, SIDE), 255), 21
    while x < SIDE - 30:
        width = int(rng.integers(2, 9))
        ImageDraw.Draw(page).rectangle((x, 40, x + width - 1, 340), fill=0)
        x += width + int(rng.integers(2, 9))
    return page


def _pixels(cell: int) -> Callable[[Rng], Image.Image]:
    def made(rng: Rng) -> Image.Image:
        palette, places = rng.integers(0, 256, (6, 3)), rng.integers(6, size=(SIDE // cell, SIDE // cell))
        small = Image.fromarray(palette[places].astype(np.uint8))
        return small.resize((SIDE, SIDE), Image.Resampling.NEAREST)

    return made


def _table(rng: Rng) -> Image.Image:
    page, font = Image.new("RGB", (SIDE, SIDE), (250, 250, 250)), _font(rng, 13)
    canvas = ImageDraw.Draw(page)
    for row in range(16):
        top, fill = 10 + 23 * row, (235, 240, 250) if row % 2 else (255, 255, 255)
        canvas.rectangle((10, top, 373, top + 22), fill=fill, outline=(160, 160, 160))
        for column in range(5):
            canvas.text((16 + 72 * column, top + 3), f"{1000 * rng.normal():.1f}", fill=(30, 30, 30), font=font)
    return page


def _chart(canvas: Draw, k: int, rng: Rng) -> None:
    font = _font(rng, 11 * k)
    for line in range(10):
        canvas.line([(30 * k, (30 + 33 * line) * k), (370 * k, (30 + 33 * line) * k)], fill=(210, 210, 210), width=k)
    for bar in range(9):
        left, high = (40 + 36 * bar) * k, int(rng.integers(40, 300)) * k
        canvas.rectangle((left, 340 * k - high, left + 24 * k, 340 * k), fill=_colour(rng))
        canvas.text((left + 2 * k, 348 * k), f"{10 * bar}", fill="black", font=font)
    curve = [((40 + 8 * x) * k, (180 + 100 * math.sin(x / 4) + 12 * rng.normal()) * k) for x in range(40)]
    canvas.line(curve, fill=(200, 0, 0), width=2 * k)


def _icons(canvas: Draw, k: int, rng: Rng) -> None:
    font, wide = _font(rng, 56 * k), 60 * k
    for place in range(25):
        x, y, kind = (10 + 75 * (place % 5)) * k, (10 + 75 * (place // 5)) * k, rng.integers(4)
        if kind == 0:
            canvas.ellipse((x, y, x + wide, y + wide), fill=_colour(rng))
        elif kind == 1:
            canvas.rounded_rectangle((x, y, x + wide, y + wide), radius=10 * k, fill=_colour(rng))
        elif kind == 2:
            canvas.polygon([(x, y + wide), (x + wide // 2, y), (x + wide, y + wide)], fill=_colour(rng))
        else:
            canvas.text((x, y - 6 * k), "AB@&"[rng.integers(4)], fill=_colour(rng), font=font)


def _curves(canvas: Draw, k: int, rng: Rng) -> None:
    for _ in range(14):
        turns = rng.uniform(0, 2 * math.pi) + 0.5 * rng.normal(size=rng.integers(8, 30)).cumsum()
        path = rng.uniform(0, SIDE, 2) + 18 * np.stack([np.cos(turns), np.sin(turns)], axis=1).cumsum(axis=0)
        points = [(k * x, k * y) for x, y in path.tolist()]
        canvas.line(points, fill="black", width=int(rng.integers(1, 4)) * k, joint="curve")


def _map(canvas: Draw, k: int, rng: Rng) -> None:
    grounds = [(170, 211, 223), (200, 230, 190), (242, 239, 233), (255, 225, 150)]
    font, places = _font(rng, 12 * k), k * rng.uniform(0, SIDE, (40, 2))
    for place in places:
        corners = (place + k * rng.uniform(-60, 60, (5, 2))).tolist()
        canvas.polygon([(x, y) for x, y in corners], fill=grounds[rng.integers(4)], outline=(150, 150, 150))
    for _ in range(12):
        road = (k * rng.uniform(0, SIDE, (3, 2))).tolist()
        canvas.line([(x, y) for x, y in road], fill=(250, 178, 100), width=5 * k)
    for x, y in places[:12].tolist():
        canvas.text((x, y), str(rng.choice(WORDS)), fill="black", font=font)


def _cartoon(canvas: Draw, k: int, rng: Rng) -> None:
    canvas.rectangle((0, 0, SIDE * k, SIDE * k), fill=_colour(rng, 120))
    for _ in range(14):
        (x, y), (wide, high) = k * rng.uniform(0, SIDE, 2), k * rng.uniform(30, 140, 2)
        canvas.ellipse((x, y, x + wide, y + high), fill=_colour(rng), outline="black", width=3 * k)


_SMOOTH = {"chart": _chart, "icons": _icons, "curves": _curves, "map": _map, "cartoon": _cartoon}
_KINDS: dict[str, Callable[[Rng], Image.Image]] = {
    "text 12": _text(12, "black", "white"),
    "text 20": _text(20, "#14143c", "#fffff0"),
    "text 14, dark": _text(14, "#dcdcdc", "#1e1e22"),
    "text 36": _text(36, "black", "white"),
    **{f"chequers {cell}": _cells(cell, "white", "black") for cell in (2, 4, 9, 24)},
    "chequers 8, soft": _cells(8, "#b4b4c8", "#5a5046"),
    "stripes 6": _stripes(6, 0.0),
    "stripes 7, slant": _stripes(7, 0.5),
    "barcode": _barcode,
    "code 8": _cells(8, "black", "white", random=True),
    "code 5": _cells(5, "black", "white", random=True),
    "pixels 12": _pixels(12),
    "pixels 5": _pixels(5),
    "table": _table,
    **{f"{name} {which}": partial(_smooth, draw) for name, draw in _SMOOTH.items() for which in "ab"},
}
