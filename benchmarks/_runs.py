"""What the stored runs of `_family` and `_masks` share: kept on disk when they are done, scored on test sets."""

import json
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import _exactness
from srfoundry.compression.recipe import Conditions
from srfoundry.core.atomic import write_bytes
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.imaging import metrics
from srfoundry.imaging.patches import Patches

CPU = torch.device("cpu")


class StoredRuns:
    """Runs in a folder, each done once.

    Args:
        about: what the runs depend on beside the photographs, as JSON knows it; others on disk are done again.
        data: prepared photographs, with a set `train`.
        tests: folder of the test sets.
        work: where runs are kept.
        sets: names of the test sets.
        scale: of the networks.
    """

    precision = "auto"  # in which the nets are trained

    def __init__(
        self, about: Sequence[Any], *, data: Path, tests: Path, work: Path, sets: Sequence[str], scale: int
    ) -> None:
        self.tests, self.work, self.sets, self.scale = tests, work, list(sets), scale
        self.patches = Patches.open(data / "train")
        index = md5((data / "train" / "index.json").read_bytes(), usedforsecurity=False).hexdigest()
        self.key = json.dumps([*about, index, self.sets])

    def once(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a run came to: done now if it is not on disk."""
        path = self.work / f"{name}.json"
        if path.exists() and (read := json.loads(path.read_text()))["key"] == self.key:
            return read["scores"]
        scores = run()
        write_bytes(path, json.dumps({"key": self.key, "scores": scores}).encode())
        return scores

    def scores(self, name: str) -> dict[str, Any]:
        """What a finished run came to."""
        return json.loads((self.work / f"{name}.json").read_text())["scores"]

    def conditions(self, name: str, stream: Stream) -> Conditions:
        """What a part of a run works on, its state under that name."""
        return Conditions(
            patches=self.patches,
            compute=Compute(CPU, self.precision),
            stream=stream,
            resumption=Resumption(self.work / f"{name}.state", self.key),
        )

    def forget(self, name: str) -> None:
        """Delete the states of a run that is done."""
        for part in ("", ".search", ".select"):
            (self.work / f"{name}{part}.state").unlink(missing_ok=True)

    def psnr(self, net: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """PSNR-Y in dB of 8 bits on every test set, `scale` pixels cropped."""
        found = {}
        for name in self.sets:
            every = []
            for high in _exactness.photographs(self.tests / name, self.scale):
                low = _exactness.reduced(high, self.scale, None).float()
                with torch.inference_mode():
                    every.append(metrics.psnr_y(net(low).double(), high, self.scale, whole=True))
            found[name] = sum(every) / len(every)
        return found
