"""Scores of a zero-shot net on whole photographs: what it is told need not be true."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.kernels import gaussian
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import validation
from tests.closed import CPU, photographs


def kernel(variance: float) -> torch.Tensor:
    value = torch.tensor([variance], dtype=torch.float64)
    return gaussian(11, value, value, torch.zeros(1, dtype=torch.float64)).float()


def test_what_is_told_changes_the_restoration_and_not_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = photographs(tmp_path)
    net = MZSR(width=8, depth=2, enlargement="linear")
    redraw(net, generator(1, "net"))
    common: dict[str, Any] = {"device": CPU, "kernel": kernel(2.0), "rates": [0.01]}
    cases: list[dict[str, Any]] = [{}, {"told": kernel(2.0)}, {"told": kernel(3.0)}]
    true, told, off = (validation.validate(net, patches, 2, **common, **more) for more in cases)
    assert true == told
    assert off["psnr_y"] != true["psnr_y"] and off["bicubic_psnr_y"] == true["bicubic_psnr_y"]
    seen: list[str] = []
    adapt = validation.adapt
    monkeypatch.setattr(validation, "adapt", lambda *a, **k: (seen.append(k["precision"]), adapt(*a, **k))[1])
    validation.validate(net, patches, 2, **common, precision="bfloat16")
    assert set(seen) == {"bfloat16"}
