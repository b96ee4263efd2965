"""What images without a photograph teach in the closed loop: a part of `benchmarks.photographs`.

A camera whose blur nobody knows (one anisotropic Gaussian, direct decimation) took a folder of images. A net for
photographs is tuned for it: on its own pairs alone (`none`), and with a quarter of each batch from the folder, for
which D is the reduction without blur (`reduction`), the kernel that was estimated for each image (`estimated`), and
the true kernel (`true`). Scored on the test sets as that camera would have taken them.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks._family import WEIGHTS
from benchmarks._photographs_runs import PhotographRuns, bits
from benchmarks.drc import spread
from srfoundry.config import params
from srfoundry.core.compute import Compute
from srfoundry.core.progress import track
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels, operator
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.dual_regression.unpaired import Unpaired, moved
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.training.settings import Descent

Kind = Literal["none", "reduction", "estimated", "true"]
KINDS: tuple[Kind, ...] = ("none", "reduction", "estimated", "true")
CAMERA = (5.0, 1.5, 0.6)  # variances in px^2 and angle of its blur
IMAGES, SHARE = 40, 0.25
DESCENT = Descent(steps=300, learning_rate=5e-4, warmup=20, average=0.99, clip=1.0)
BASE = "base-1-0.1"


class UnpairedRuns(PhotographRuns):
    """Tunings of a net that is there already (`BASE`) for one camera.

    Args:
        models: folder of the networks that kernels are estimated by (`make repro` trains them).
        arguments, keywords: as for PhotographRuns.
    """

    def __init__(self, *arguments: Any, models: Path, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.models = models

    @cached_property
    def blur(self) -> Tensor:
        """The camera's kernel, on the grid of MATLAB's bicubic."""
        values = (torch.tensor([value], dtype=torch.float64) for value in CAMERA)
        return kernels.gaussian(21, *values, offset=(self.scale - 1) / 2)

    @cached_property
    def folder(self) -> list[Tensor]:
        """The camera's images: of every second training photograph, which the pairs do without."""
        names = self.patches.photographs()[1::2]
        names = names[:: math.ceil(len(names) / IMAGES)]
        return [self._taken(self.patches.image(name), generator(0, "camera", name)).float() for name in names]

    def estimated(self) -> list[Tensor]:
        """The kernels that are estimated for the folder, kept beside the runs."""

        def run() -> dict[str, Any]:
            values, device = params.load(Path("params.yaml")), torch.device("cpu")
            estimation = KernelEstimation.load(values, self.scale, device=device, models=self.models)
            found = [
                estimation.estimate_kernel(low, f"{index}").cpu()
                for index, low in enumerate(track(self.folder, "kernels", len(self.folder)))
            ]
            return {"kernels": [kernel.tolist() for kernel in found]}

        return [moved(torch.tensor(each), self.scale) for each in self.once("kernels", run)["kernels"]]

    def tuned(self, kind: Kind, seed: int) -> float:
        """The gain over bicubic on the camera's test images of the net that was tuned so."""

        def run() -> dict[str, Any]:
            net, duals = self.pretrained(1, 0.1)
            plain = torch.ones(1, 1, 1)
            chosen = {
                "none": (),
                "reduction": [moved(plain, self.scale)] * len(self.folder),
                "estimated": self.estimated() if kind == "estimated" else (),
                "true": [self.blur] * len(self.folder),
            }[kind]
            batches = Batches(
                patches=self.patches.only(self.patches.photographs()[0::2]),
                draws=replace(self.plan.tuning().draws, octave=0.0),
                scale=self.scale,
                stream=Stream(seed, "unpaired"),
                unpaired=Unpaired(images=self.folder, share=SHARE if kind != "none" else 0.0, kernels=chosen),
                degradation=self.plan.degradation,
            )
            compute = Compute(net.head.weight.device, "float32")
            loss = loss_of(duals, scale=self.scale, weights=WEIGHTS, compute=compute)
            state = Resumption(self.work / f"{kind}-{seed}.state", self.key)
            train(net, duals, loss, batches, DESCENT, resumption=state)
            state.path.unlink(missing_ok=True)
            gains = list(self.by_image(net.eval(), self._taken, "camera", ["Set5", "Set14"]))
            return {"camera": statistics.mean(gains)}

        return self.once(f"unpaired-{kind}-{seed}", run)["camera"]

    def _taken(self, high: Tensor, rng: torch.Generator) -> Tensor:
        """A photograph as the camera takes it, in 8 bits, with a little noise."""
        low = operator.degrade(high.double(), self.blur, self.scale)
        return bits(low + 1 / 255 * torch.randn(low.shape, generator=rng).to(low))


def figures(runs: UnpairedRuns, seeds: Sequence[int]) -> dict[str, Any]:
    """What each kind of folder gains over none, with the spread over the seeds."""
    found: dict[str, Any] = {}
    for kind in KINDS[1:]:
        gains = spread([runs.tuned(kind, seed) - runs.tuned("none", seed) for seed in seeds])
        found |= {f"unpaired_{kind}_gain_db": gains["mean"], f"unpaired_{kind}_gain_spread": gains["spread"]}
    return found
