"""What a model does to held-out photographs: those that it was made for, and those that it has never seen.

Blurred photographs are reduced directly: the top-left pixel of each block stays. An enlargement that takes a pixel for
the middle of its block, as bicubic and these networks do, then lies (scale - 1) / 2 pixels beside the original, which
costs it more than all else. So both are moved onto the original's grid before they are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srfoundry.core import seeds
from srfoundry.imaging import decoding, images, metrics, resize, tiling
from srfoundry.runtime.session import BICUBIC, Session

JPEG, NOISE = 85, 5  # quality; deviation, of 255
WORDS = {  # by test set; `words` puts the scale in
    BICUBIC: "reduced by MATLAB's bicubic",
    "jpeg": f"the same, saved as JPEG of quality {JPEG}",
    "noise": f"the same, with white noise of deviation {NOISE} of 255",
    "div2krk": "under a blur of its own each, by DIV2KRK's recipe, then directly",
    "photographs": "through two rounds of blur, resizing, noise and JPEG, as cameras and the web do it",
    "gauss20": "blurred by a Gaussian of variance 2.0 square pixels, then every {nth} pixel; on the original's grid",
    "aniso": "blurred by an oblique Gaussian, then every {nth} pixel; on the original's grid",
}
# On a grid of their own: degradation.blurred_sets, whose changes shall not make `export` stale. A test compares.
BESIDE = {"gauss20", "aniso"}
NTH = {2: "second", 3: "third", 4: "fourth", 8: "eighth"}


@dataclass(frozen=True)
class Row:
    """Mean PSNR-Y and SSIM-Y over the held-out photographs.

    Args:
        test: which test set was made of them, a key of WORDS.
        bicubic: PSNR-Y in dB of MATLAB's bicubic enlargement.
        model: of the model's.
        ssim: of the model's.
    """

    test: str
    bicubic: float
    model: float
    ssim: float


def words(test: str, scale: int) -> str:
    """What was done to photographs.

    Args:
        test: a key of WORDS.
        scale: by which they were made small.
    """
    return WORDS[test].format(nth=nth(scale))


def nth(scale: int) -> str:
    """Which pixels stay where an image is reduced directly: every `second`, `third`, ..."""
    return NTH.get(scale, f"{scale}th")


def measure(session: Session, folder: Path, conditions: Sequence[str] = tuple(WORDS)) -> list[Row]:
    """Score a model on held-out photographs that were made small in several ways.

    Args:
        session: the model.
        folder: data/synthesize/held_out: `high`, and a folder for each way that was prepared.
        conditions: keys of WORDS.

    Returns:
        A row for each way whose files are there.
    """
    if not (folder / "high").is_dir() or not (folder / BICUBIC).is_dir():
        return []
    paths = decoding.find(folder / "high")
    known = [key for key in conditions if key in _MADE or (folder / key).is_dir()]
    return [_row(key, session, paths, folder) for key in known]


Way = Callable[[Path, Path], tuple[Tensor, bool]]  # folder and photograph -> the low image, and whether it is direct


def _prepared(key: str) -> Way:
    return lambda folder, path: (images.read(folder / key / path.name), key in BESIDE)


def _compressed(folder: Path, path: Path) -> tuple[Tensor, bool]:
    return images.jpeg(images.read(folder / BICUBIC / path.name), JPEG), False


def _noisy(folder: Path, path: Path) -> tuple[Tensor, bool]:
    low = images.read(folder / BICUBIC / path.name)
    noise = torch.randn(low.shape, generator=seeds.generator(0, "model card", path.name))
    return (low + noise * NOISE / 255).clamp(0, 1), False


_MADE: dict[str, Way] = {"jpeg": _compressed, "noise": _noisy}


def _row(test: str, session: Session, paths: list[Path], folder: Path) -> Row:
    card, scale, way = session.card, session.scale, _MADE.get(test) or _prepared(test)
    found: list[tuple[float, float, float]] = []
    for path in paths:
        high = images.read(path)
        low, direct = way(folder, path)
        run = tiling.tiled(session.run, low.numpy(), scale, tile=card.tile, overlap=card.overlap)
        restored, plain = torch.from_numpy(run), resize.cubic(low, scale).clamp(0, 1)
        if direct:
            restored, plain = (onto_grid(each, scale) for each in (restored, plain))
        border = 2 * scale if direct else scale
        ours = metrics.scores(restored, high, border)
        found.append((metrics.psnr_y(plain, high, border), ours["psnr_y"], ours["ssim_y"]))
    bicubic, psnr, ssim = np.mean(found, axis=0).tolist()
    return Row(test, bicubic, psnr, ssim)


def onto_grid(image: Tensor, scale: int) -> Tensor:
    """Move an image by (scale - 1) / 2 pixels up and left, by cubic interpolation where that is half a pixel."""
    whole, half = divmod(scale - 1, 2)
    taps = torch.tensor([-1.0, 9.0, 9.0, -1.0]) / 16 if half else torch.tensor([0.0, 1.0, 0.0, 0.0])
    for axis in (-2, -1):
        last = image.shape[axis] - 1
        places = torch.arange(last + 1) + whole
        image = sum(  # pyright: ignore[reportAssignmentType]  (sum begins with 0)
            tap * image.index_select(axis, (places + step).clamp(0, last))
            for tap, step in zip(taps, (-1, 0, 1, 2), strict=True)
        )
    return image.clamp(0, 1)
