"""Noise of kernel tasks: nothing is drawn where there is none, each image has its own, input and filters know it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Rows, generator
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import kernel_tasks, task_noise
from srfoundry.zero_shot.plain_training import Pair
from srfoundry.zero_shot.settings import NoiseDraw, PlainTraining, TaskDegradations
from srfoundry.zero_shot.task_noise import TaskNoise
from tests.closed import CPU, prepared

SOME = NoiseDraw(noisy=0.5, noise=0.06)
BANK = kernels.draw_gaussian(3, size=15, scale=2, rng=generator(1, "bank"))[0]


@pytest.mark.parametrize("chosen", [replace(SOME, noisy=0.0), replace(SOME, noise=0.0)])
def test_without_noise_nothing_is_drawn(chosen: NoiseDraw) -> None:
    rng = generator(3)
    assert task_noise.of_images(4, chosen, ALONE, rng=rng) is None
    assert task_noise.of_tasks(4, 2, chosen, rng=rng) == [None] * 4
    assert torch.rand(2, generator=rng).equal(torch.rand(2, generator=generator(3)))


def test_a_share_has_noise_up_to_the_largest() -> None:
    drawn = task_noise.of_images(4000, SOME, ALONE, rng=generator(3))
    assert drawn is not None
    has = drawn.level[drawn.level > 0]
    assert len(has) / 4000 == pytest.approx(0.5, abs=0.03)
    assert 0.057 < float(has.max()) <= 0.06 and float(has.median()) == pytest.approx(0.015, abs=0.002)


def test_rows_of_two_processes_are_those_of_one() -> None:
    low = torch.full((5, 3, 8, 8), 0.5)
    whole = task_noise.of_images(5, SOME, ALONE, rng=generator(3))
    assert whole is not None
    wanted, parts = whole.added(low), []
    for rank in range(2):
        processes = Processes(rank, 2)
        part = task_noise.of_images(5, SOME, processes, rng=generator(3))
        assert part is not None
        parts.append(part.added(low[processes.rows(5)]))
    assert torch.cat(parts).equal(wanted)


@pytest.mark.parametrize("enlargement", ["linear", "bicubic"])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_pairs_of_parts_are_those_of_the_whole_batch(
    tmp_path: Path, enlargement: linear_enlargement.How, parts: int
) -> None:
    """Their filters, too, which know the colours of all of its images."""
    grey = torch.rand(1, 1, 48, 48, generator=generator(5)) * torch.ones(1, 3, 1, 1)
    patches = prepared(tmp_path, {"grey": grey, "colours": torch.rand(1, 3, 48, 48, generator=generator(6))}, [1, 2])
    degradations = TaskDegradations(enlargement=enlargement, decimation="direct", scales=[], mismatch=0.0)
    groups = kernel_tasks.kernel_groups(BANK, degradations, scale=2, rng=generator(1))
    chosen = PlainTraining(patch=16, batch=5, steps=1, learning_rate=1e-3)

    def pairs(of: Processes) -> Pair:
        loud = replace(SOME, noisy=1.0)
        return kernel_tasks.blurred_pairs(
            patches, groups, chosen, noise=loud, device=CPU, rng=generator(7), processes=of
        )

    whole, high = pairs(ALONE)
    for each in (Processes(rank, parts) for rank in range(parts)):
        inputs, targets = pairs(each)
        torch.testing.assert_close(inputs, whole[each.rows(5)], atol=1e-5, rtol=1e-5)
        assert targets.equal(high[each.rows(5)])


@pytest.mark.parametrize("enlargement", ["linear", "bicubic"])
def test_the_network_gets_the_noise_and_an_image_made_for_it(enlargement: linear_enlargement.How) -> None:
    chosen = TaskDegradations(enlargement=enlargement, decimation="direct", scales=[], mismatch=0.0)
    [group] = kernel_tasks.kernel_groups(BANK, chosen, scale=2, rng=generator(1))
    high, which = torch.rand(2, 3, 32, 32, generator=generator(2)), torch.tensor([2, 0])
    quiet = TaskNoise(torch.zeros(2), Rows(2), generator(4))
    made = group.network_input(high, which, quiet)
    assert made.shape == (2, 4, 32, 32) and made[:, 3].count_nonzero() == 0
    assert made[:, :3].allclose(group.network_input(high, which), atol=1e-4), "no noise is another image"
    loud = TaskNoise(torch.tensor([0.0, 0.05]), Rows(2), generator(4))
    noisy = group.network_input(high, which, loud)
    assert noisy[:, 3, 0, 0].tolist() == pytest.approx([0.0, 0.05])
    low = group.reduce(high, which, TaskNoise(loud.level, Rows(2), generator(4)))
    if enlargement == "linear":
        own = linear_enlargement.fitted(low[:1], BANK[2:3], 2)(low[:1])
        assert noisy[:1, :3].allclose(own, atol=1e-4)
        assert not noisy[1:, :3].allclose(linear_enlargement.fitted(low[1:], BANK[:1], 2)(low[1:]), atol=1e-2)


def test_a_network_that_learns_of_noise_starts_where_it_was() -> None:
    before, net = MZSR(width=8, depth=3), MZSR(width=8, depth=3, enlargement="linear", noise=True)
    net.start_from(before)
    image = torch.rand(1, 3, 16, 16, generator=generator(2))
    level = torch.full((1, 1, 16, 16), 0.03)
    assert net(torch.cat([image, level], dim=1)).allclose(before(image), atol=1e-6)
