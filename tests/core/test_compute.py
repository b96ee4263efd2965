"""Precision: float32 stays float32."""

import torch
from torch import nn

from srfoundry.core.compute import autocast


def test_float32_is_never_lowered() -> None:
    with autocast(torch.device("cpu"), "float32"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.float32
    with autocast(torch.device("cpu"), "bfloat16"):
        assert nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == torch.bfloat16
