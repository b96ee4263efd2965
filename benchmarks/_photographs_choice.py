"""What is lost by the choice of a member: its results against those of the better member, by kind of damage.

For any two exported members and any folder of sharp photographs. Each photograph is cut to at most SIDE pixels a side,
reduced, damaged in each way, and enlarged by both; what the choice saw of it is what `srfoundry upscale` would see.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from srfoundry.core.progress import bar
from srfoundry.core.seeds import generator
from srfoundry.imaging import decoding, images, levels, metrics, resize, user_image
from srfoundry.imaging.patches import crop_to_multiple
from srfoundry.runtime import choosing
from srfoundry.runtime.session import Session

SIDE = 480  # pixels of a photograph's side at full size
CLEAN = ("clean", "jpeg98")  # what the promise is about: never worse than the clean member by more than 0.3 dB

Damaging = Callable[[Image.Image, torch.Generator], Image.Image]


def damages() -> dict[str, Damaging]:
    """Ways to damage a reduced photograph, by name; those that compress give an image as its file is opened."""
    found: dict[str, Damaging] = {"clean": lambda low, rng: low}
    for deviation in (0.5, 0.8, 1.2):  # pixels of the reduced image
        found[f"blur{deviation}"] = lambda low, rng, deviation=deviation: low.filter(
            ImageFilter.GaussianBlur(deviation)
        )
    for level in (2, 5, 15):  # of 255
        found[f"noise{level}"] = lambda low, rng, level=level: _noisy(low, level, rng)
    for quality in (30, 50, 75, 90, 98):
        found[f"jpeg{quality}"] = lambda low, rng, quality=quality: _filed(low, "JPEG", quality)
    for quality in (50, 90):
        found[f"webp{quality}"] = lambda low, rng, quality=quality: _filed(low, "WEBP", quality)
    found["was_jpeg60"] = lambda low, rng: _filed(low, "JPEG", 60).convert("RGB")  # a PNG by now
    found["camera"] = lambda low, rng: _filed(_noisy(low, 3, rng), "JPEG", 92)
    found["sharpened"] = lambda low, rng: low.filter(ImageFilter.UnsharpMask(1, 80, 0))
    found["upscaled"] = lambda low, rng: _resized(_resized(low, 0.5), 2.0)
    found["blur_noise_jpeg"] = lambda low, rng: _filed(
        _noisy(low.filter(ImageFilter.GaussianBlur(0.8)), 6, rng), "JPEG", 70
    )
    return found


def figures(clean: Path, photo: Path, folder: Path, count: int = 20) -> dict[str, Any]:
    """Measure the choice between two exported members.

    Args:
        clean: the member that was trained on clean reductions.
        photo: the one that was trained for damage; of the same scale.
        folder: sharp photographs; none that the thresholds of `choosing` were found on.
        count: how many of them, spread evenly; 0 for all.

    Returns:
        `choice.regret_db`: mean loss against the better member, over all kinds of damage, PSNR-Y;
        `choice.clean_worst_db`: the most that a clean photograph loses against the clean member (asked: 0.3 at most);
        `choice.always_clean_regret_db`, `choice.always_photo_regret_db`: what one member for all would lose;
        `choice.NAME`: by kind: regret_db, worst_db, photo_share, photo_over_clean_db.
    """
    members = {name: Session(path, threads=1, device="cpu") for name, path in (("clean", clean), ("photo", photo))}
    paths = decoding.find(folder)
    paths = paths[:: max(1, len(paths) // count)][:count] if count else paths
    rows: dict[str, list[tuple[float, bool]]] = {name: [] for name in damages()}
    with bar("choice", len(paths) * len(rows)) as progress:
        for path in paths:
            high = crop_to_multiple(images.read(path)[..., :SIDE, :SIDE], members["clean"].scale)
            for name, damage in damages().items():
                rows[name].append(_scored(high, damage, members, generator(0, "choice", name, path.name)))
                progress.update(1)
    kinds = {name: np.array(found, dtype=np.float64) for name, found in rows.items()}
    every = np.stack([found for found in kinds.values()])  # kind, photograph, (photo over clean, photo taken)
    lost = _lost(every[..., 0], every[..., 1])
    clean_ones = np.concatenate([np.where(kinds[name][:, 1] > 0, -kinds[name][:, 0], 0) for name in CLEAN])
    return {
        "choice.photographs": len(paths),
        "choice.regret_db": _round(lost.mean()),
        "choice.clean_worst_db": _round(max(0.0, clean_ones.max())),
        "choice.always_clean_regret_db": _round(_lost(every[..., 0], np.zeros_like(lost)).mean()),
        "choice.always_photo_regret_db": _round(_lost(every[..., 0], np.ones_like(lost)).mean()),
        **{f"choice.{name}": _kind(found) for name, found in kinds.items()},
    }


def _scored(high: Tensor, damage: Damaging, members: Mapping[str, Session], rng: torch.Generator) -> tuple[float, bool]:
    """By how much the photo member is better, PSNR-Y in dB, and whether it is chosen."""
    scale = members["clean"].scale
    low = damage(_picture(resize.cubic(high, 1 / scale)), rng)
    seen = user_image.of(low.convert("RGB"))
    tables = {"quantization": tables} if (tables := getattr(low, "quantization", None)) else {}
    choice = choosing.choose(user_image.Photograph(seen.pixels, None, False, tables))
    scores = {
        name: metrics.psnr_y(images.from_uint8(torch.from_numpy(_enlarged(member, seen.pixels))[None]), high, scale)
        for name, member in members.items()
    }
    return float(scores["photo"] - scores["clean"]), choice.kind == "photo"


def _enlarged(member: Session, pixels: np.ndarray) -> np.ndarray:
    return levels.to_levels(member.run(levels.to_floats(pixels)))


def _lost(gain: np.ndarray, photo: np.ndarray) -> np.ndarray:
    return np.where(photo > 0, np.maximum(-gain, 0), np.maximum(gain, 0))


def _kind(found: np.ndarray) -> dict[str, float]:
    lost = _lost(found[:, 0], found[:, 1])
    return {
        "regret_db": _round(lost.mean()),
        "worst_db": _round(lost.max()),
        "photo_share": _round(found[:, 1].mean()),
        "photo_over_clean_db": _round(found[:, 0].mean()),
    }


def _round(value: Any) -> float:
    return round(float(value), 3)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(images.to_uint8(image)[0].numpy())


def _resized(low: Image.Image, factor: float) -> Image.Image:
    return low.resize((round(low.width * factor), round(low.height * factor)), Image.Resampling.BICUBIC)


def _noisy(low: Image.Image, level: float, rng: torch.Generator) -> Image.Image:
    pixels = torch.from_numpy(np.asarray(low).copy()).float()
    return Image.fromarray(
        (pixels + level * torch.randn(pixels.shape, generator=rng)).round().clamp(0, 255).byte().numpy()
    )


def _filed(low: Image.Image, kind: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    low.save(file, kind, quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))
