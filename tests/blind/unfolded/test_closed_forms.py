"""Image under a known kernel, and taps under a known image: what the closed forms promise."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srfoundry.blind.unfolded import closed_forms
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.operator import degrade
from tests.blind_cases import power_law

SIZE = 13


def observed(scale: int, border: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """A sharp window in grey, what was seen of it, and the kernel: a line."""
    whole = power_law(scale * (48 + 2 * border), 3).mean(dim=1, keepdim=True)
    whole = (whole - whole.mean()) / whole.std()
    kernel = kernels.line(SIZE, torch.tensor([8.0]), torch.tensor([0.4]))
    low, cut = degrade(whole, kernel, scale, border="reflect"), scale * border
    return whole[..., cut:-cut, cut:-cut], low[..., border:-border, border:-border], kernel


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_taps_of_a_known_image_are_the_kernel(scale: int) -> None:
    high, low, kernel = observed(scale)
    normal = closed_forms.equations(high, low, scale, SIZE)
    weights = torch.tensor([[1e-4, 1e-2]])
    found = closed_forms.least_squares(normal, torch.zeros(1, 2, SIZE, SIZE), ridge=weights, smooth=weights, steps=60)
    errors = [float((each - kernel[0]).square().sum() / kernel.square().sum()) for each in found[0]]
    assert errors[0] < 0.15 and errors[1] < 0.3


def test_conjugate_gradients_solve_the_normal_equations() -> None:
    high, low, kernel = observed(2)
    gram, right = closed_forms.equations(high, low, 2, SIZE)
    before = kernel[:, None] * 0.5
    ridge, smooth = torch.tensor([[0.1]]), torch.tensor([[0.0]])
    found = closed_forms.least_squares((gram, right), before, ridge=ridge, smooth=smooth, steps=100)
    unit = closed_forms.spread_of(gram)
    whole = gram[0] + 0.1 * unit * torch.eye(SIZE**2)
    solved = torch.linalg.solve(whole, right[0] - gram[0] @ before.flatten())
    torch.testing.assert_close(found.flatten(), before.flatten() + solved, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("scale", [2, 3])
def test_the_linear_restoration_is_better_with_the_kernel_than_without(scale: int) -> None:
    high, low, kernel = observed(scale)
    none = torch.zeros_like(kernel)
    none[:, SIZE // 2, SIZE // 2] = 1
    noise = [torch.tensor([0.01])]
    errors = [
        float((closed_forms.wiener(low, each, scale, noise) - high)[..., 16:-16, 16:-16].square().mean())
        for each in (kernel, none)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_a_batch_is_its_images() -> None:
    high, low, kernel = observed(2)
    other = low.flip(-1)
    both = torch.cat([low, other])
    noise = torch.tensor([0.02, 0.05])
    whole = closed_forms.wiener(both, kernel.expand(2, -1, -1), 2, [noise])
    alone = [closed_forms.wiener(each, kernel, 2, [noise[row : row + 1]]) for row, each in enumerate((low, other))]
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-4, rtol=1e-4)
    grams = closed_forms.equations(torch.cat([high, high.flip(-1)]), both, 2, SIZE)
    torch.testing.assert_close(grams[0][:1], closed_forms.equations(high, low, 2, SIZE)[0])


def test_a_batchs_rows_share_one_index_on_the_device() -> None:
    """Copied once, however many rows a batch has, and however many batches there are."""
    copies = []

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
                copies.append(made.numel())
            return made

    high, low = torch.empty(5, 1, 30, 30, device="meta"), torch.empty(5, 1, 15, 15, device="meta")
    with Counting():
        for _ in range(2):
            closed_forms.equations(high, low, 2, SIZE)
    assert copies.count(SIZE**4) == 1


def test_autocorrelations_show_the_direction_of_motion() -> None:
    noise = torch.randn(1, 1, 256, 256, generator=generator(1, "noise"))
    low = degrade(noise, kernels.line(SIZE, torch.tensor([9.0]), torch.tensor([0.0])), 1, border="reflect")
    found = closed_forms.autocorrelations(low, 1, SIZE)
    middle = SIZE // 2
    assert found.shape == (1, 2, SIZE, SIZE) and float(found[0, 0, middle, middle]) == pytest.approx(1, abs=1e-3)
    assert float(found[0, 0, middle, middle + 4]) > 0.3 > abs(float(found[0, 0, middle + 4, middle]))
