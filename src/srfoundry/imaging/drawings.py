"""Drawings by program, grey, at random: shapes, strokes, writing and mosaics, as sharp as a screen's and as large.

What learns what a sharp image looks like from photographs alone takes drawings' edges for the work of a mask, and their
patterns for a blur's. Overlapping shapes are nearly all that networks need to learn of images (Achddou, Gousseau and
Ladjal 2023, "dead leaves").
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FINER = 3  # points a pixel and side of a drawing whose edges are smoothed
HARD = 0.2  # share of those whose edges are not
EVEN = 0.7  # share of those whose ground is of one level
LETTERS = "etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLU0123456789.,:;-+()/%&@#"
Canvas = ImageDraw.ImageDraw


def drawn(count: int, side: int, *, rng: torch.Generator) -> Float[Tensor, "n s s"]:
    """Drawings.

    Args:
        count: how many.
        side: of each, pixels.
        rng: on the CPU.

    Returns:
        grey images, range [0, 1].
    """
    seeds = torch.randint(2**62, (count,), generator=rng).tolist()
    pages = [_drawing(side, np.random.default_rng(seed)) for seed in seeds]
    return torch.from_numpy(np.stack(pages)).float() / 255 if pages else torch.empty(0, side, side)


def _drawing(side: int, rng: np.random.Generator) -> np.ndarray:
    finer = 1 if rng.random() < HARD else FINER
    page = Image.new("L", (side * finer, side * finer), _level(rng))
    if rng.random() >= EVEN:
        first, last = sorted((_level(rng), _level(rng)))
        ground = Image.linear_gradient("L").point(lambda each: first + each * (last - first) // 255)  # pyright: ignore
        page = ground.rotate(90 * int(rng.integers(4))).resize(page.size, Image.Resampling.BILINEAR)
    kinds: list[Callable[[Image.Image, int, np.random.Generator], None]] = [_shapes, _strokes, _writing, _mosaic]
    for kind in rng.permutation(len(kinds))[: rng.integers(1, 4)]:
        kinds[kind](page, finer, rng)
    return np.asarray(page.resize((side, side), Image.Resampling.BOX))


def _level(rng: np.random.Generator) -> int:
    """Of 255; black and white more often than others."""
    return int(np.clip(rng.normal(127.5, 120), 0, 255))


def _shapes(page: Image.Image, finer: int, rng: np.random.Generator) -> None:
    """Ellipses, boxes and polygons, some with outlines, over one another."""
    canvas, side = ImageDraw.Draw(page), page.width
    for _ in range(rng.integers(2, 25)):
        x, y = rng.uniform(-0.1, 1, 2) * side
        wide, high = rng.uniform(3 * finer, 0.5 * side, 2)
        box, fill = (x, y, x + wide, y + high), _level(rng)
        edge = {"outline": _level(rng), "width": int(rng.integers(1, 4)) * finer} if rng.random() < 0.3 else {}
        kind = rng.integers(3)
        if kind == 0:
            canvas.ellipse(box, fill=fill, **edge)
        elif kind == 1:
            canvas.rounded_rectangle(box, radius=rng.choice([0, 0, 4 * finer]), fill=fill, **edge)  # pyright: ignore
        else:
            corners = rng.uniform(0, 1, (rng.integers(3, 7), 2)) * (wide, high) + (x, y)
            canvas.polygon([tuple(corner) for corner in corners.tolist()], fill=fill, **edge)


def _strokes(page: Image.Image, finer: int, rng: np.random.Generator) -> None:
    """Lines that wander, straight ones, and rulings."""
    canvas, side = ImageDraw.Draw(page), page.width
    level, wander = _level(rng), rng.choice([0.0, 0.3, 0.6])
    for _ in range(rng.integers(2, 16)):
        turns = rng.uniform(0, 2 * math.pi) + rng.normal(0, wander, rng.integers(2, 30)).cumsum()
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * rng.uniform(4, 20) * finer
        path = rng.uniform(0, side, 2) + steps.cumsum(axis=0)
        width = int(rng.integers(1, 5)) * finer
        canvas.line([tuple(point) for point in path.tolist()], fill=level, width=width, joint="curve")


def _writing(page: Image.Image, finer: int, rng: np.random.Generator) -> None:
    """Lines of letters at random, all of one size."""
    canvas, side, level = ImageDraw.Draw(page), page.width, _level(rng)
    size = float(rng.uniform(9, 42)) * finer
    font = ImageFont.load_default(size)
    y = rng.uniform(-size, size)
    while y < side:
        letters = rng.choice(list(LETTERS + 12 * " "), math.ceil(2.5 * side / size))
        canvas.text((rng.uniform(-size, size), y), "".join(letters), fill=level, font=font)
        y += size * rng.uniform(1.1, 2.5)


def _mosaic(page: Image.Image, finer: int, rng: np.random.Generator) -> None:
    """Cells of a few levels: chequers, stripes, codes and enlarged pixels, on a part of the page."""
    side, cell = page.width, int(rng.integers(1, 17)) * finer
    rows, columns = (max(1, int(share * side / cell)) for share in rng.uniform(0.3, 1.2, 2))
    levels = np.array([_level(rng) for _ in range(rng.choice([2, 2, 6]))], np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        places = np.add.outer(np.arange(rows), np.arange(columns)) % len(levels)
    elif kind == 1:
        places = np.tile(rng.integers(len(levels), size=columns), (rows, 1))
    else:
        places = rng.integers(len(levels), size=(rows, columns))
    cells = Image.fromarray(levels[places]).resize((columns * cell, rows * cell), Image.Resampling.NEAREST)
    angle = float(rng.choice([0, 0, 90, rng.uniform(0, 360)]))
    mask = Image.new("L", cells.size, 255).rotate(angle, expand=True)
    corner = tuple(int(each) for each in rng.integers(-side // 4, side // 2, 2))
    page.paste(cells.rotate(angle, expand=True), corner, mask)  # pyright: ignore[reportArgumentType]
