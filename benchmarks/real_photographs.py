"""What real photographs have that a test set has not: blur of light, clipped highlights, sharpening, soft originals.

Each trial damages photographs in one such way, under random Gaussians, discs or lines, and restores them with the true
kernel by the linear enlargement alone, so that nothing but the damage differs. Gains are over bicubic enlargement on
the same grid, in dB of PSNR-Y, x2, 8 bits.

    python -m benchmarks.real_photographs                 # the freely licensed ones inside scikit-image
    python -m benchmarks.real_photographs --patches SET   # a set of `synthesize` instead; the picture stays

Writes benchmarks/results/real_photographs.json and docs/real_photographs.webp.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import _blind_classes, table
from srfoundry.core.seeds import generator
from srfoundry.degradation import back_projection, kernels, linear_enlargement
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images, metrics, resize
from srfoundry.imaging.patches import Patches

FREE = ("astronaut", "chelsea", "coffee", "rocket")  # NASA: public domain; S. van der Walt, R. Michetti, SpaceX: CC0
EXPOSURE = 1.6  # light of the overexposed trial: what lies above white is clipped
STRENGTHS = (0.3, 1.0)  # of a camera's unsharp mask
SOFT = 1.0  # variance of a soft original's blur, square pixels
RIM = 16
BLURS = {"gaussian": _blind_classes.gaussian, "disc": _blind_classes.disc, "line": _blind_classes.line}


def photographs(patches: Path | None, count: int) -> Iterator[tuple[str, Tensor]]:
    """Names and images of even sides."""
    if patches is None:
        found = ((path.stem, images.read(path)) for path in images.bundled() if path.stem in FREE)
    else:
        whole = Patches.open(patches)
        names = whole.photographs()
        found = ((name, whole.image(name)) for name in names[:: max(1, len(names) // count)][:count])
    for name, image in found:
        tall, wide = (min(extent // 2 * 2, 384) for extent in image.shape[-2:])
        yield name, image[..., :tall, :wide]


def sharpened(low: Tensor, strength: float) -> Tensor:
    """Through an unsharp mask, as cameras do it."""
    variance = torch.ones(1, dtype=torch.float64)
    soft = kernels.gaussian(7, variance, variance, torch.zeros(1)).float()
    return low + strength * (low - degrade(low, soft, 1))


def trials(name: str, high: Tensor, kernel: Tensor) -> dict[str, float]:
    """PSNR-Y of bicubic and of restorations by trial."""
    found: dict[str, float] = {}

    def score(key: str, image: Tensor, wanted: Tensor) -> None:
        found[key] = metrics.psnr_y(image[..., RIM:-RIM, RIM:-RIM].clamp(0, 1), wanted[..., RIM:-RIM, RIM:-RIM], 2)

    def restored(low: Tensor) -> Tensor:
        return linear_enlargement.enlarge(low, kernel, 2, how="linear").clamp(0, 1)

    for trial, light in (("levels", False), ("light", True)):
        low = eight_bit(Sampling(2, light=light).degrade(high, kernel))
        score(f"{trial}.bicubic", aligned(low), high)
        first = restored(low)
        score(f"{trial}.plain", first, high)
        seen = Observation(low, kernel, Sampling(2, light=True))
        score(f"{trial}.linear", back_projection.close(first, seen, steps=back_projection.LIGHT, how="linear"), high)
    bright = EXPOSURE * high
    blurred = degrade(bright, kernel, 2)
    low = eight_bit(blurred)
    plain = aligned(low)
    score("clipped.bicubic", plain, bright.clamp(0, 1))
    score("clipped.plain", restored(low), bright.clamp(0, 1))
    score("clipped.unclipped", restored(blurred), bright.clamp(0, 1))
    masked = F.max_pool2d((low >= 254.5 / 255).any(dim=1, keepdim=True).float(), 3, 1, 1)
    share = F.interpolate(masked, scale_factor=2.0, mode="nearest")
    score("clipped.masked", share * plain + (1 - share) * restored(low), bright.clamp(0, 1))
    for strength in STRENGTHS:
        low = eight_bit(sharpened(degrade(high, kernel, 2), strength))
        score(f"sharpened_{strength}.bicubic", aligned(low), high)
        score(f"sharpened_{strength}.plain", restored(low), high)
    variance = torch.full((1,), SOFT, dtype=torch.float64)
    soft = degrade(high, kernels.gaussian(7, variance, variance, torch.zeros(1)).float(), 1)
    low = eight_bit(degrade(soft, kernel, 2))
    score("soft.bicubic", aligned(low), soft)
    score("soft.plain", restored(low), soft)
    return found


def aligned(low: Tensor) -> Tensor:
    """Bicubic enlargement, x2, on the original's grid."""
    return resize.cubic_at(low, 2, 0.0).clamp(0, 1)


def eight_bit(image: Tensor) -> Tensor:
    """As a file holds it."""
    return images.from_uint8(images.to_uint8(image))


def picture(path: Path) -> None:
    """A window of the astronaut, blurred as light: bicubic, restored as levels, restored as light, original."""
    high = dict(photographs(None, 0))["astronaut"][..., 40:200, 150:310]
    kernel = _blind_classes.disc(2, generator(1, "picture"))
    low = eight_bit(Sampling(2, light=True).degrade(high, kernel))
    first = linear_enlargement.enlarge(low, kernel, 2, how="linear").clamp(0, 1)
    seen = Observation(low, kernel, Sampling(2, light=True))
    last = back_projection.close(first, seen, steps=back_projection.LIGHT, how="linear")
    gap = torch.ones(1, 3, high.shape[-2], 4)
    row = [aligned(low), gap, first, gap, last, gap, high]
    images.write(F.interpolate(torch.cat(row, dim=-1), scale_factor=1.5, mode="bicubic").clamp(0, 1), path)


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path, help="a folder that `synthesize` made")
    parser.add_argument("--count", type=int, default=12, help="photographs of it (default: %(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("docs/real_photographs.webp"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    sums: dict[str, list[float]] = {}
    for name, high in photographs(options.patches, options.count):
        for blur, draw in BLURS.items():
            kernel = draw(2, generator(1, "real", name, blur))
            for key, value in trials(name, high, kernel).items():
                sums.setdefault(f"{blur}.{key}", []).append(value)
    figures = {key: round(sum(values) / len(values), 2) for key, values in sums.items()}
    rows = [
        {"blur and trial": key.rsplit(".", 1)[0], "restored": key.rsplit(".", 1)[1], "gain_db": round(value - base, 2)}
        for key, value in figures.items()
        if not key.endswith(".bicubic")
        for base in [figures[key.rsplit(".", 1)[0] + ".bicubic"]]
    ]
    gains = {f"{row['blur and trial']}.{row['restored']}.gain_db": row["gain_db"] for row in rows}
    table.report("real_photographs", rows, threads=1, **gains)
    picture(options.picture)


if __name__ == "__main__":
    table.run(main)
