"""The learned step to a kernel: what it returns before it has been trained, and always."""

import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.kernel_step import BASE, FITS, LEVEL, MAPS, KernelStep, start_plain

SIZE = 13


def seen() -> torch.Tensor:
    maps = torch.randn(2, 2 * (1 + FITS) + MAPS, SIZE, SIZE, generator=generator(1, "seen"))
    kernels = torch.rand(2, 1 + FITS, SIZE, SIZE, generator=generator(1, "kernels"))
    maps[:, : 1 + FITS] = LEVEL * kernels / kernels.sum(dim=(-2, -1), keepdim=True)
    return maps


def net() -> KernelStep:
    made = KernelStep(scales=(2,), widths=(4, 4, 8))
    redraw(made, generator(1, "net"))
    return made


def test_untrained_it_returns_least_squares() -> None:
    plain = net()
    start_plain(plain)
    torch.testing.assert_close(plain(seen()), seen()[:, BASE] / LEVEL, atol=1e-5, rtol=0)


def test_kernels_are_positive_of_sum_1() -> None:
    found = net()(seen()).detach()
    assert float(found.min()) > 0 and not torch.allclose(found, seen()[:, BASE] / LEVEL, atol=1e-3)
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(2))
