"""Scores of a zero-shot net on whole photographs: the kernel that it is given need not be true."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import validation
from srfoundry.zero_shot.recipe import Recipe
from tests.closed import CPU, photographs


def kernel(variance: float) -> torch.Tensor:
    value = torch.tensor([variance], dtype=torch.float64)
    return gaussian(11, value, value, torch.zeros(1, dtype=torch.float64)).float()


def test_the_assumed_kernel_changes_the_restoration_and_not_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = photographs(tmp_path)
    net = MZSR(width=8, depth=2, enlargement="linear")
    redraw(net, generator(1, "net"))
    common: dict[str, Any] = {"compute": Compute(CPU), "kernel": kernel(2.0), "recipe": Recipe([0.01])}
    cases: list[dict[str, Any]] = [{}, {"assumed": kernel(2.0)}, {"assumed": kernel(3.0)}]
    true, given, off = (validation.validate(net, patches, Sampling(2), **common, **more) for more in cases)
    assert true == given
    assert off["psnr_y"] != true["psnr_y"] and off["bicubic_psnr_y"] == true["bicubic_psnr_y"]
    seen: list[str] = []
    adapt = validation.adapt
    monkeypatch.setattr(validation, "adapt", lambda *a, **k: (seen.append(k["precision"]), adapt(*a, **k))[1])
    validation.validate(net, patches, Sampling(2), **{**common, "compute": Compute(CPU, "bfloat16")})
    assert set(seen) == {"bfloat16"}


def test_steps_are_judged_for_each_kernel(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    net = MZSR(width=8, depth=2)
    redraw(net, generator(1, "net"))
    known = {"narrow": kernel(1.0), "wide": kernel(3.0)}
    recipe = Recipe([0.01, 0.01, 0.01])
    found = validation.validate_steps(net, patches, Sampling(2), known, recipe, compute=Compute(CPU))
    assert {name: list(rows) for name, rows in found.items()} == dict.fromkeys(known, ["steps_0", "steps_1", "steps_3"])
    plain = validation.validate(net, patches, Sampling(2), compute=Compute(CPU), kernel=kernel(3.0))
    assert found["wide"]["steps_0"] == plain != found["wide"]["steps_3"]
