"""Mirrors repeat."""

import torch

from srfoundry.imaging.mirror import mirror_indices


def test_mirrors_repeat_without_end() -> None:
    assert mirror_indices(torch.arange(-4, 8), 2).tolist() == [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0]
    assert mirror_indices(torch.arange(-2, 3), 1).tolist() == [0] * 5
