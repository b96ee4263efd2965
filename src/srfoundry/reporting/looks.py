"""A picture of results beside what they were made from, with their scores: of real photographs as a rule."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from srfoundry.imaging.looks import Look
from srfoundry.reporting import pictures


def sheet(path: Path, looks: Sequence[Look], scores: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """Write one row an image: its busiest window as it is, bicubic, by each member, with PSNR-Y and NIQE.

    Args:
        path: of the picture.
        looks: the images.
        scores: of each (`Look.scores`).
    """
    rows = []
    for each, scored in zip(looks, scores, strict=True):
        height, width = each.low.shape[-2:]
        shown = {"as it is": pictures.repeated(each.low, each.scale)}
        for name, image in each.shown.items():
            row = scored[name]
            parts = [f"{row['psnr_y']:.2f} dB"] if "psnr_y" in row else []
            parts += [f"NIQE {row['niqe']:.2f}"] if "niqe" in row else []
            shown["  ".join([name, *parts])] = image
        if each.high is not None:
            shown["original"] = each.high
        rows.append((f"{each.name}, {width} x {height}, enlarged {each.scale} times", shown))
    pictures.sheet(path, rows)
