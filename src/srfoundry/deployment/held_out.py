"""The held-out photographs as a judge of exported models: how well and how fast ONNX Runtime runs any of them.

A figure belongs to the images that it was measured on, so it travels with a hash of their content.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, images, metrics, resize, tiling
from srfoundry.runtime.session import BICUBIC, HELD_OUT, JUDGED_ON, SCORES, Session

SIDE = 128  # low-resolution pixels a side of the image that is timed
RUNS = 5  # the fastest of these counts
HIGH = "high"  # folder of the originals


@dataclass(frozen=True)
class Figures:
    """What a model is judged by.

    Args:
        psnr: PSNR-Y in dB, mean over the held-out photographs, made small as the test set has them.
        bicubic: of MATLAB's bicubic enlargement of the same images, on the grid of the originals.
        held_out: hash of these images' content; figures on other images are of another kind.
        seconds: of one run in ONNX Runtime on this machine; None = not measured.
        size: bytes of the file.
    """

    psnr: float
    bicubic: float
    held_out: str
    seconds: float | None
    size: int


class HeldOut:
    """Held-out photographs in data/synthesize/held_out, and how one of the test sets has made them small.

    Args:
        folder: holds `high` and the test set, with the same names in both; it may be missing.
        scale: the enlargement that they were made for.
        threads: of ONNX Runtime while scoring.
        test: which test set, one on the grid of MATLAB's bicubic.
    """

    def __init__(self, folder: Path, scale: int, threads: int = 1, *, test: str = BICUBIC) -> None:
        self.scale = scale
        self.test = test
        self._folder = folder
        self._threads = threads

    def digest(self) -> str:
        """Hash of the content of all these images, whatever else the data set holds; empty where there are none."""
        total = hashlib.md5(str(self.scale).encode(), usedforsecurity=False)
        names = self._names()
        for name in names:
            for part in (HIGH, self.test):
                total.update(name.encode("utf-8", "surrogateescape") + part.encode())
                total.update(hashlib.md5((self._folder / part / name).read_bytes(), usedforsecurity=False).digest())
        return total.hexdigest() if names else ""

    def said(self, scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """What a card says of a model that is judged here.

        Args:
            scores: of the model, by test set.
        """
        return {JUDGED_ON: self.test, HELD_OUT: self.digest(), **{SCORES + test: row for test, row in scores.items()}}

    def figures(self, blob: bytes) -> Figures | None:
        """Score and time a model.

        Args:
            blob: an ONNX file with a card.

        Returns:
            None where it cannot be scored here: no photographs, no card, or a model of another scale.
        """
        held_out = self.digest()
        try:
            session = Session(blob, threads=self._threads, device="cpu")
        except FoundryError:
            return None
        if not held_out or session.scale != self.scale:
            return None
        found, plain = [], []
        for name in self._names():
            high, low = images.read(self._folder / HIGH / name), images.read(self._folder / self.test / name)
            card = session.card
            restored = tiling.tiled(session.run, low.numpy(), self.scale, tile=card.tile, overlap=card.overlap)
            found.append(metrics.psnr_y(torch.from_numpy(restored), high, self.scale))
            plain.append(metrics.psnr_y(resize.cubic(low, self.scale).clamp(0, 1), high, self.scale))
        count = len(found)
        return Figures(sum(found) / count, sum(plain) / count, held_out, seconds(blob), len(blob))

    def _names(self) -> list[str]:
        if not (self._folder / HIGH).is_dir():
            return []
        names = [path.name for path in decoding.find(self._folder / HIGH)]
        return names if all((self._folder / self.test / name).is_file() for name in names) else []


def seconds(blob: bytes) -> float | None:
    """Of one run on 128x128 pixels and one thread, the fastest of five: only for comparing models on one machine.

    The processor's time of this thread counts, which runs the model: other work on the machine disturbs it little.
    """
    try:
        session = Session(blob, threads=1, device="cpu")
    except FoundryError:
        return None
    low = np.full((1, session.card.channels, SIDE, SIDE), 0.5, np.float32)
    taken = []
    for _ in range(RUNS):
        began = time.thread_time()
        session.run(low)
        taken.append(time.thread_time() - began)
    return min(taken)
