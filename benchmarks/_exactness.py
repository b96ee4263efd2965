"""Is the degradation the published one? Pixels, decibels and adjoints against golden data: a part of `degradation`."""

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srfoundry.core.progress import track
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.operator import adjoint, degrade
from srfoundry.imaging import images, metrics, resize
from srfoundry.imaging.patches import crop_to_multiple

# variances in px^2, angle, decimation: the columns of MZSR's table, by their names in reference_numbers.json
CELLS = {
    "bic": None,
    "g0.2d": (0.2, 0.2, 0.0, "direct"),
    "g2.0d": (2.0, 2.0, 0.0, "direct"),
    "gani_41": (4.0, 1.0, -0.5, "direct"),
    "gani_51": (5.0, 1.0, -0.5, "direct"),
    "g1.3b": (1.3, 1.3, 0.0, "bicubic"),
}
TAPS = 21


def matlab(data: Path) -> int:
    """Pixels that differ from MATLAB's own reductions, all pairs."""
    different = 0
    for path in sorted((data / "golden" / "matlab_bicubic").glob("*_HR.png")):
        scale = int(path.stem.split("_x")[1][0])
        high, low = (_levels(Path(str(path).replace("_HR", part))) for part in ("_HR", "_LR"))
        different += int((resize.cubic_uint8(high, 1 / scale) != low).sum())
    return different


def mzsr(data: Path) -> int:
    """Pixels of MZSR's Set5 under g_2.0 that differ when remade, in double precision from 8-bit photographs."""
    different = 0
    kernel = torch.from_numpy(np.load(data / "golden" / "mzsr_g20" / "kernel.npz")["kernel"])[None]
    for path in sorted((data / "golden" / "mzsr_g20").glob("*.png")):
        low = _levels(path)
        high = _levels(next((data / "test" / "Set5").glob(f"*{path.stem}*")))
        high = high[..., : low.shape[-2] * 2, : low.shape[-1] * 2].double() / 255
        made = images.to_uint8(degrade(high, kernel, 2)).permute(0, 3, 1, 2)
        different += int((made != low).sum())
    return different


def blind(data: Path) -> dict[str, float]:
    """DKP's 30 pairs: the remade image against the stored 8 bits, before and after it is truncated likewise.

    A pair without any different pixel counts as 99 dB.
    """
    stored = np.load(data / "golden" / "blind" / "inputs_set5_and_c128.npz")
    plain, truncated, different, pixels = [], [], 0, 0
    for key in [key for key in stored.files if "/lr/" in key]:
        group, factor, _, name = key.split("/")
        high = torch.from_numpy(stored[f"{group}/HR/{name}"]).permute(2, 0, 1)[None].double() / 255
        high = crop_to_multiple(high, int(factor[1]))
        kernel = torch.from_numpy(stored[f"{group}/{factor}/k/{name}"])[None]
        low = degrade(high, kernel, int(factor[1]), convention="dkp").clamp(0, 1)
        levels = torch.from_numpy(stored[key]).permute(2, 0, 1)[None].double()
        plain.append(_decibels(low * 255 - levels))
        made = images.to_uint8(low, truncate=conventions.CONVENTIONS["dkp"].truncates).permute(0, 3, 1, 2).double()
        truncated.append(_decibels(made - levels))
        different, pixels = different + int((made != levels).sum()), pixels + made.numel()
    return {
        "blind_lr_psnr_min": min(truncated),
        "blind_unrounded_psnr_min": min(plain),
        "blind_pixels_different_share": different / pixels,
    }


def adjoints() -> float:
    """The largest relative error of <A x, y> = <x, A' y> over every option, double precision."""
    apart: list[float] = []
    borders: list[conventions.Border] = ["reflect", "replicate", "circular"]
    for scale, decimation, border, name, taps, size in itertools.product(
        (1, 2, 3, 4, 8), ("direct", "bicubic"), borders, conventions.CONVENTIONS, (6, 9), ((48, 72), (47, 61))
    ):
        options: dict[str, Any] = {"decimation": decimation, "border": border, "convention": name}
        rng = generator(0, "adjoint", scale, taps)
        x = torch.rand(2, 3, *size, generator=rng, dtype=torch.float64)
        kernel = kernels.normalise(torch.rand(2, taps, taps, generator=rng, dtype=torch.float64))
        image = degrade(x, kernel, scale, **options)
        y = torch.rand(image.shape, generator=rng, dtype=torch.float64)
        left, right = float((image * y).sum()), float((x * adjoint(y, kernel, scale, size, **options)).sum())
        apart.append(abs(left - right) / abs(left))
    return float(np.max(apart))  # NaN where one is, as Python's max is not


def table(data: Path) -> list[dict[str, Any]]:
    """Bicubic's rows of MZSR's tables (spec A7), remade: PSNR and SSIM on whole Y, and how far from the published."""
    reference = json.loads((data / "golden" / "reference" / "reference_numbers.json").read_text())
    published = {2: reference["bicubic_interp_x2"], 4: {}}
    for name, values in reference["bicubic_interp_x4_g2.0d"].items():
        published[4][name] = {"g2.0d": values}
    rows = []
    for name, scale in itertools.product(("Set5", "Set14", "BSD100"), (2, 4)):
        cells = {cell: each for cell, each in CELLS.items() if cell in published[scale].get(name, {}) or cell == "bic"}
        scores = {cell: [] for cell in cells}
        for high in track(list(photographs(data / "test" / name, scale)), f"{name} x{scale}"):
            for cell, blur in cells.items():
                restored = resize.cubic(reduced(high, scale, blur), scale)
                scores[cell].append(
                    [score(restored, high, scale, whole=True) for score in (metrics.psnr_y, metrics.ssim_y)]
                )
        for cell, found in scores.items():
            psnr, ssim = np.mean(found, axis=0)
            wanted = published[scale].get(name, {}).get(cell)
            row = {"set": name, "scale": scale, "kernel": cell, "psnr": round(psnr, 4), "ssim": round(ssim, 4)}
            away = {} if wanted is None else {"published": wanted[0], "away_db": round(float(psnr) - wanted[0], 6)}
            rows.append(row | away)
    return rows


def photographs(folder: Path, scale: int) -> Iterator[Tensor]:
    for path in sorted(folder.glob("*.png")):
        image = images.from_uint8(images.to_uint8(images.read(path)), torch.float64)
        yield crop_to_multiple(image, scale)


def taps(blur: tuple[float, float, float, Any]) -> Tensor:
    """The kernel of a cell."""
    first, second, theta = (torch.tensor([value], dtype=torch.float64) for value in blur[:3])
    return kernels.gaussian(TAPS, first, second, theta)


def reduced(high: Tensor, scale: int, blur: Any) -> Tensor:
    """The 8-bit low-resolution image of a cell, in [0, 1]."""
    if blur is None:
        low = resize.cubic(high, 1 / scale)
    else:
        low = degrade(high, taps(blur), scale, decimation=blur[3])
    return images.from_uint8(images.to_uint8(low), torch.float64)


def _levels(path: Path) -> Tensor:
    return images.to_uint8(images.read(path)).permute(0, 3, 1, 2)


def _decibels(error: Tensor) -> float:
    square = float(error.square().mean())
    return 99.0 if square == 0 else 10 * math.log10(255**2 / square)
