"""MATLAB's bicubic enlargement without PyTorch."""

import numpy as np
import pytest
import torch

from srfoundry.imaging import enlargement, resize


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (50, 70), (300, 41)])
def test_a_band_is_enlarged_as_by_resize(size: tuple[int, int], scale: int) -> None:
    band = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    exact = resize.cubic(torch.from_numpy(band)[None, None].double(), scale)[0, 0].numpy()
    found = enlargement.cubic(band, scale)
    assert found.dtype == np.uint8 and np.array_equal(found, np.floor(exact + 0.5).clip(0, 255))
