"""Precision: float32 stays float32."""

import pytest
import torch
from torch import nn

from srfoundry.cli import commands
from srfoundry.core.compute import autocast


def test_float32_is_never_lowered() -> None:
    with autocast(torch.device("cpu"), "float32"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.float32
    with autocast(torch.device("cpu"), "bfloat16"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.bfloat16


def test_the_program_computes_on_a_gpu_as_exactly_as_a_stage_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    commands._device("cpu")
    assert not torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.deterministic
