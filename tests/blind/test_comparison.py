"""An estimate against the truth: the window that was looked at, kernels of different sizes."""

import pytest
import torch

from srfoundry.blind.comparison import compare_with_truth
from srfoundry.blind.estimate import Estimate
from srfoundry.core.seeds import generator
from srfoundry.degradation.kernels import gaussian
from srfoundry.imaging import metrics


def test_the_truth_is_cut_to_the_window_and_the_smaller_kernel_set_into_zeros() -> None:
    high = torch.rand(1, 3, 40, 48, generator=generator(1, "high"))
    low = high[..., ::2, ::2]
    small, large = (gaussian(size, *(torch.tensor([value]) for value in (1.0, 1.0, 0.0))).float() for size in (9, 13))
    found = compare_with_truth(Estimate(small, high[..., 8:24, 12:44], (4, 6, 8, 16), []), low, high, large, 2)
    assert torch.equal(found.high, high[..., 8:24, 12:44]) and torch.equal(found.low, low[..., 4:12, 6:22])
    assert found.psnr_y == float("inf") and found.kernel_psnr > 50
    assert metrics.padded_kernel_psnr(large, small) == found.kernel_psnr
    with pytest.raises(ValueError, match="one size"):
        metrics.kernel_psnr(small, large)
