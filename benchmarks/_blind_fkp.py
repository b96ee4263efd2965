"""FKP's test: kernels by method for the images of `_blind_cases`, restored by the non-blind network."""

import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._blind_cases import MOTION, Case, drawn, moved, noisy, periodic, prior, stored
from benchmarks._blind_scores import Score
from srfoundry.blind.corrector.correction import CorrectionSearch, estimate_kernel_by_corrections
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.released import Program, run_released_program
from srfoundry.blind.motion_deblur.freeform import find_free_form_kernel
from srfoundry.blind.nonblind_restoration import VARIANCES
from srfoundry.config.params import load
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet

Method = Callable[[Case], Tensor]  # a kernel of DKP's convention


@dataclass(frozen=True)
class Kernels:
    """Kernels by method; none of them sees more than the low-resolution image and the scale."""

    restorer: USRNet
    corrector: Corrector | None
    params: Path
    seed: int

    def by_name(self, methods: Collection[str]) -> dict[str, Method]:
        """Those among `methods` that find kernels."""
        every: dict[str, Method] = {
            "true": lambda case: case.kernel,
            "fast": self.fast,
            "dkp": self.dkp,
            "free": self.free,
        }
        return {name: method for name, method in every.items() if name in methods}

    def fast(self, case: Case) -> Tensor:
        """The whole image is looked at."""
        assert self.corrector is not None
        search = CorrectionSearch(prior(case.scale).size, VARIANCES, offset=prior(case.scale).offset)
        return estimate_kernel_by_corrections(
            case.low,
            Sampling(case.scale, border="circular"),
            search,
            restorer=self.restorer,
            corrector=self.corrector,
        ).kernel

    def dkp(self, case: Case) -> Tensor:
        """With the values of params.yaml."""
        settings = load(self.params).estimate.settings
        size = replace(settings.prior, kernel_size=prior(case.scale).size)
        rng = generator(self.seed, "blind dkp", case.name, case.scale)
        found = estimate_by_dkp(periodic(case, case.noise), replace(settings, prior=size), rng=rng).kernel
        return conventions.convert(found, "mzsr", "dkp", case.scale, keep="blur")

    def free(self, case: Case) -> Tensor:
        """Any form."""
        rng = generator(self.seed, "blind free", case.name)
        return find_free_form_kernel(periodic(case, None), MOTION, rng=rng, restore=self.restorer)

    def score(self, case: Case, method: Method) -> Score:
        """Of an image that was restored with a method's kernel; the seconds are those of the estimation."""
        began = time.perf_counter()
        kernel = method(case)
        taken = time.perf_counter() - began
        with torch.inference_mode():
            image = self.restorer(case.low, kernel.float(), case.scale, case.noise).clamp(0, 1)
        return Score(case.psnr_y(image), case.psnr_y(case.aligned()), taken, case.kernel_psnr(kernel))


def mean_kernel(case: Case) -> Score:
    """Bicubic, with the kernel PSNR of the test distribution's mean kernel, which is no estimate at all."""
    mean = prior(case.scale).mean().float()
    known = mean.shape == case.kernel.shape
    bicubic = case.psnr_y(case.aligned())
    return Score(bicubic, bicubic, 0.0, case.kernel_psnr(mean) if known else math.nan)


@dataclass(frozen=True)
class Images:
    """Which images are tested.

    Attributes:
        data: folder with golden, test and kernels.
        count: images of each set but Set5.
        seed: of kernels and noise.
    """

    data: Path
    count: int
    seed: int

    def fkp(self, name: str, scale: int, levels: Collection[int]) -> Iterator[tuple[str, list[Case]]]:
        """The tests of a set by key; noise (of 255) in Set5 alone."""
        if name != "Set5":
            yield f"{name}_x{scale}", list(drawn(self.data, name, scale, self.count, seed=self.seed))
            return
        clean = list(stored(self.data, scale))
        for level in levels:
            cases = [noisy(case, level / 255, seed=self.seed) if level else case for case in clean]
            yield f"Set5_x{scale}" + (f"_n{level}" if level else ""), cases

    def motion(self) -> tuple[str, list[Case]]:
        """Levin's kernels."""
        return "Set5_x2_motion", list(moved(self.data))[: self.count]


def race(data: Path, kernels: Kernels) -> dict[str, float]:
    """Seconds of DKP's released program on Set5's butterfly, x4, and of `fast` with its restoration."""
    case = next(case for case in stored(data, 4) if case.name == "butterfly")
    began = time.perf_counter()
    psnr = kernels.score(case, kernels.fast).psnr_y
    ours = time.perf_counter() - began
    began = time.perf_counter()
    found = run_released_program(periodic(case, None), Program())
    theirs = time.perf_counter() - began
    assert found.restored is not None
    reached = case.psnr_y(found.restored)
    return {
        "released.butterfly_x4.psnr_y": round(reached, 3),
        "released.butterfly_x4.kernel_psnr": round(case.kernel_psnr(found.kernel), 3),
        "released.butterfly_x4.seconds": round(theirs, 1),
        "fast.butterfly_x4.psnr_y": round(psnr, 3),
        "fast.butterfly_x4.seconds": round(ours, 2),
        "time_to_released": round(ours / theirs, 5) if psnr >= reached else math.inf,
    }
