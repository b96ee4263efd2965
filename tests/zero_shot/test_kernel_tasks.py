"""Training pairs: made as a test image is, with the assumed kernel beside the true one."""

from dataclasses import replace

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.imaging import images, resize
from srfoundry.zero_shot import kernel_tasks
from srfoundry.zero_shot.settings import TaskDegradations

BANK = kernels.draw_gaussian(6, size=15, scale=2, rng=generator(1, "bank"))[0]


PLAIN = TaskDegradations(enlargement="bicubic", decimation="direct", scales=[], mismatch=0.0)


def make(chosen: TaskDegradations = PLAIN) -> list[kernel_tasks.KernelGroup]:
    return kernel_tasks.kernel_groups(BANK, chosen, scale=2, rng=generator(1, "blurs"))


def test_a_pair_is_the_degradation_in_8_bits_enlarged() -> None:
    high, which = torch.rand(2, 3, 24, 24, generator=generator(2)), torch.tensor([3, 1])
    low = images.from_uint8(images.to_uint8(operator.degrade(high, BANK[which], 2)))
    assert make()[0].network_input(high, which).equal(resize.cubic(low, 2))


def test_every_scale_and_decimation_is_a_group() -> None:
    groups = make(replace(PLAIN, scales=[2.0, 2.4, 3.0], decimation="both"))
    assert [(group.scale, group.decimation) for group in groups] == [
        (scale, way) for scale in (2, 2.4, 3) for way in ("direct", "bicubic")
    ]
    high = torch.rand(2, 3, 24, 24, generator=generator(2))
    for group in groups:
        assert group.network_input(high, torch.tensor([0])).shape == high.shape
    assert groups[0].true.equal(BANK) and not groups[-1].true.equal(BANK), "wider blurs belong to larger scales"


def test_a_mismatch_widens_one_of_the_two_kernels() -> None:
    [group] = make(replace(PLAIN, mismatch=0.6))

    def variance(kernel: torch.Tensor) -> torch.Tensor:
        axis = torch.arange(15.0) - 7
        return (kernel * (axis[:, None] ** 2 + axis[None, :] ** 2)).sum((-2, -1))

    more = variance(group.true) - variance(group.assumed)
    assert bool((more.abs() > 1e-4).all()) and float(more.abs().max()) < 1.3
    assert all(group.true[i].equal(BANK[i]) or group.assumed[i].equal(BANK[i]) for i in range(6))
    kernels.check(group.true)
    kernels.check(group.assumed)
    high = torch.rand(1, 3, 24, 24, generator=generator(2))
    assert not group.network_input(high, torch.tensor([0])).equal(
        group.network_input(high, torch.tensor([0]), assumed=True)
    )


def test_no_linear_enlargement_by_a_fraction() -> None:
    with pytest.raises(FoundryError, match="whole scales"):
        make(replace(PLAIN, scales=[2.2], enlargement="linear"))
