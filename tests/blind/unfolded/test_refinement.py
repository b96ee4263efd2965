"""A rough kernel is made exact, and of several the one of the sharpest image is taken."""

import torch
from torch import Tensor

from srfoundry.blind.motion_deblur import taps
from srfoundry.blind.unfolded import closed_forms
from srfoundry.blind.unfolded.refinement import best_of, refined, simplex_taps, sparsity
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.operator import degrade
from tests.nonblind import data_steps

SIZE = 15
TRUE = kernels.line(SIZE, torch.tensor([9.0]), torch.tensor([0.5]))


def squares() -> Tensor:
    """A sharp picture of few edges."""
    coarse = torch.rand(1, 3, 7, 7, generator=generator(2, "squares"))
    return torch.nn.functional.interpolate(coarse, size=(160, 160), mode="nearest")


def test_a_blurred_kernel_becomes_exact() -> None:
    sharp = squares()
    low = degrade(sharp, TRUE, 2, border="reflect")[..., 8:-8, 8:-8]
    grey, high = (image.mean(dim=1, keepdim=True) for image in (low, sharp[..., 16:-16, 16:-16]))
    variance = torch.tensor([9.0])
    rough = kernels.gaussian(SIZE, variance, variance / 4, torch.tensor([0.5]))

    def error(kernel: Tensor) -> float:
        image = closed_forms.wiener(grey, kernel, 2, [torch.tensor([0.02])])
        return float((image - high)[..., 16:-16, 16:-16].square().mean())

    assert error(refined(grey, rough, 2, noise=0.0)) < 0.5 * error(rough)
    best, rows = best_of(low, rough, 2, noise=0.0, restore=data_steps())
    assert len(rows) == 3 and error(best) <= error(rough)
    assert abs(float(best.sum()) - 1) < 1e-4 and float(best.min()) >= 0


def test_the_descent_ends_where_the_solver_does() -> None:
    high = squares()[..., 8:-8, 8:-8].mean(dim=1, keepdim=True)
    low = degrade(squares(), TRUE, 2, border="reflect").mean(dim=1, keepdim=True)[..., 4:-4, 4:-4]
    gram, right = closed_forms.equations(high, low, 2, SIZE)
    start = torch.full((1, SIZE, SIZE), 1 / SIZE**2)
    found = simplex_taps((gram, right), start, ridge=1e-2, smooth=1e-2, steps=200)
    solved = taps.solve((gram[0].double(), right[0].double()), ridge=1e-2, smooth=1e-2)
    torch.testing.assert_close(found, solved, atol=2e-4, rtol=0.0)


def test_blur_raises_the_figure() -> None:
    sharp = squares().mean(dim=1, keepdim=True)
    assert sparsity(sharp) < sparsity(degrade(sharp, TRUE, 1, border="reflect"))
