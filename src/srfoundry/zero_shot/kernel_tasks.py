"""Kernel tasks: each is super-resolution under one kernel, which the network may be given a little wrong.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, section 3.2. The network adapts and
enlarges with the *assumed* kernel of a task, while its images are reduced with the *true* one: where the two differ, it
learns to adapt in spite of an estimate's error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.compute import sent
from srfoundry.core.errors import FoundryError
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.degradation.variogram import Moments
from srfoundry.imaging import images, resize
from srfoundry.imaging.patches import ALL, Patches
from srfoundry.networks.adaptive.mzsr import with_noise
from srfoundry.zero_shot import maml, task_noise
from srfoundry.zero_shot.plain_training import Pair
from srfoundry.zero_shot.settings import NoiseDraw, PlainTraining, TaskDegradations, TaskDraw
from srfoundry.zero_shot.task_noise import TaskNoise

DECIMATIONS: dict[str, list[operator.Decimation]] = {
    "direct": ["direct"],
    "bicubic": ["bicubic"],
    "both": ["direct", "bicubic"],
}


@dataclass(frozen=True)
class KernelGroup:
    """Kernels with one scale and decimation."""

    true: Float[Tensor, "m k k"]
    assumed: Float[Tensor, "m k k"]
    scale: int | float
    decimation: operator.Decimation
    filters: Float[Tensor, "m p t t"] | None
    """Of the linear enlargement without noise, for the assumed kernels; None means bicubic."""
    moments: Moments | None = None
    """What filters for a noise follow from; None where there is no noise, or no linear enlargement."""

    def reduce(
        self,
        high: Float[Tensor, "b 3 p p"],
        which: Int[Tensor, " n"],
        noise: TaskNoise | None = None,
        *,
        assumed: bool = False,
    ) -> Float[Tensor, "b 3 q q"]:
        """Reduce with a kernel for all (n = 1) or for each, to 8 bits.

        Args:
            which: the kernels' numbers.
            noise: what is added.
            assumed: with the assumed kernels, not with the true ones.
        """
        kernel = (self.assumed if assumed else self.true)[which].to(high.device)
        low = operator.degrade(high, kernel, self.scale, decimation=self.decimation)
        if noise is not None:
            low = noise.added(low)
        return images.from_uint8(images.to_uint8(low))

    def enlarge(
        self,
        low: Float[Tensor, "b 3 q q"],
        which: Int[Tensor, " n"],
        size: tuple[int, int],
        noise: TaskNoise | None = None,
        *,
        rows: slice = ALL,
    ) -> Float[Tensor, "_ c p p"]:
        """Enlarge to a size, for the assumed kernels; with noise, to what a network that knows noise takes (c = 4).

        Args:
            low: the images.
            which: the kernels' numbers, one for all images or one for each.
            size: rows and columns of the enlarged images.
            noise: of the images.
            rows: of the images that are enlarged; the others show what the colours of the batch are, under noise.
        """
        shown, which = low[rows], which[rows] if len(which) == len(low) else which
        if self.filters is None:
            enlarged = resize.cubic(shown, self.scale, size=size)
        elif noise is None or self.moments is None:
            enlarged = linear_enlargement.linear(shown, self.filters[which].to(low.device))
        else:
            # A patch may be a flat wall; a photograph is not, and its differences are more like those of the batch.
            ratio, colours = linear_enlargement.relative_noise(low, noise.level, together=True)
            ratio, colours = ratio[rows], colours[rows]
            each = which.repeat_interleave(ratio.numel() // len(which))
            made = self.moments.picked(each).filters(ratio.flatten())
            enlarged = linear_enlargement.Fitted(made.to(low.device), colours)(shown)
        return enlarged if noise is None else with_noise(enlarged, noise.level[rows])

    def network_input(
        self,
        high: Float[Tensor, "b 3 p p"],
        which: Int[Tensor, " n"],
        noise: TaskNoise | None = None,
        *,
        assumed: bool = False,
        rows: slice = ALL,
    ) -> Float[Tensor, "_ c p p"]:
        """Reduce and enlarge to the same size: the input for this target (MZSR sec. 3.2); arguments as of these."""
        low = self.reduce(high, which, noise, assumed=assumed)
        return self.enlarge(low, which, (high.shape[-2], high.shape[-1]), noise, rows=rows)


def kernel_groups(
    bank: Float[Tensor, "m k k"], chosen: TaskDegradations, *, scale: int, rng: torch.Generator
) -> list[KernelGroup]:
    """One group for each scale and decimation.

    Args:
        bank: the kernels of the first scale; those of others are Gaussians drawn anew, for their widths go with it.
        scale: the only one, where none are chosen.

    Raises:
        FoundryError: a linear enlargement by a fraction.
    """
    scales, linear = chosen.scales or [scale], chosen.enlargement == "linear"
    if linear and any(one != int(one) for one in scales):
        raise FoundryError(f"linear enlargement takes whole scales, got {list(scales)}; use bicubic for these")
    groups = []
    for one in scales:
        whole = int(one) if one == int(one) else one
        own = bank
        if one != scales[0]:
            own, _ = kernels.draw_gaussian(len(bank), size=bank.shape[-1], scale=one, rng=rng)
        for decimation in DECIMATIONS[chosen.decimation]:
            true, assumed = mismatched(own, chosen.mismatch, rng)
            moments = Moments.of(assumed, int(one), decimation=decimation) if linear else None
            filters = None if moments is None else moments.filters().to(assumed.device)
            groups.append(KernelGroup(true, assumed, whole, decimation, filters, moments))
    return groups


def mismatched(
    bank: Float[Tensor, "m k k"], variance: float, rng: torch.Generator
) -> tuple[Float[Tensor, "m k k"], Float[Tensor, "m k k"]]:
    """Kernels as they are and as they are assumed to be: one of the two is blurred once more, by a random Gaussian.

    Args:
        variance: of that blur at most, px^2; 0 leaves both equal.
    """
    if variance == 0:
        return bank, bank
    draws = torch.rand(len(bank), 4, generator=rng, dtype=torch.float64)
    first, second = draws[:, 0] * variance + 1e-3, draws[:, 1] * variance + 1e-3
    extra = kernels.gaussian(7, first, second, draws[:, 2] * torch.pi)
    wider = F.conv2d(bank.double()[None], extra[:, None], padding=3, groups=len(bank))[0]
    wider = kernels.normalise(wider).to(bank)
    really = (draws[:, 3] < 0.5)[:, None, None]
    return torch.where(really, wider, bank), torch.where(really, bank, wider)


def draw_tasks(
    patches: Patches,
    groups: Sequence[KernelGroup],
    chosen: TaskDraw,
    *,
    noise: NoiseDraw,
    device: torch.device,
    rng: torch.Generator,
    processes: Processes = ALONE,
) -> maml.Tasks:
    """Draw one meta-batch, in which each task is one kernel: this process's tasks of it.

    Support pairs are made with the assumed kernel, query pairs with the true one. Support `patches` are other
    patches than the query's (MZSR): the kernel is all that they have in common. With `self_pair` they are the
    query's reduced patches as targets of their own reductions, as at test time (where these are not rounded to 8
    bits): image and scale too are what adaptation may learn from. A patch then is a multiple of the scale's square.
    Noise is as strong in a task's support as in its query, and as `noise` says.
    """
    sets = 2 if chosen.support == "patches" else 1
    of_task, own = sets * chosen.shots, range(chosen.tasks)[processes.rows(chosen.tasks)]
    rows = [task * of_task + index for task in own for index in range(of_task)]
    high = sent(patches.batch(chosen.tasks * of_task, chosen.patch, rng=rng, factors=[1], rows=rows)[1], device)
    picked = [_pick(groups, 1, rng) for _ in range(chosen.tasks)]
    noises = task_noise.of_tasks(chosen.tasks, chosen.shots, noise, rng=rng)
    made = []
    for task, images_ in zip(own, high.reshape(len(own), sets, chosen.shots, *high.shape[1:]), strict=True):
        (group, which), added = picked[task], noises[task]
        query = images_[-1]
        if chosen.support == "patches":
            support = images_[0]
            enlarged = group.network_input(query, which, added)
        else:
            support = group.reduce(query, which, added)
            enlarged = group.enlarge(support, which, (chosen.patch, chosen.patch), added)
        made.append((group.network_input(support, which, added, assumed=True), support, enlarged, query))
    parts = [torch.stack(part) for part in zip(*made, strict=True)]
    return maml.Tasks(*parts, share=processes.share(chosen.tasks))


def blurred_pairs(
    patches: Patches,
    groups: Sequence[KernelGroup],
    chosen: PlainTraining,
    *,
    noise: NoiseDraw,
    device: torch.device,
    rng: torch.Generator,
    processes: Processes = ALONE,
) -> Pair:
    """Draw patches and their reductions, each under a kernel of its own, enlarged: this process's rows of the batch."""
    group, which = _pick(groups, chosen.batch, rng)
    # linear enlargement under noise asks for the colours of the whole batch, whoever computes with which rows of it
    reduced, own = (ALONE, processes) if noise.present and group.moments is not None else (processes, ALONE)
    rows = reduced.rows(chosen.batch)
    high = sent(patches.batch(chosen.batch, chosen.patch, rng=rng, factors=[1], rows=rows)[1], device)
    added = task_noise.of_images(chosen.batch, noise, reduced, rng=rng)
    kept = own.rows(len(high))
    return group.network_input(high, which[rows], added, rows=kept), high[kept].contiguous()


def _pick(groups: Sequence[KernelGroup], count: int, rng: torch.Generator) -> tuple[KernelGroup, Tensor]:
    """Draw one group, and `count` of its kernels."""
    chosen = groups[int(torch.randint(len(groups), (), generator=rng))]
    return chosen, torch.randint(len(chosen.true), (count,), generator=rng)
