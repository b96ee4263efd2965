"""What dual regression is trained on: aligned patches at every scale, degraded or not, and images without a target."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from srfoundry.core.compute import sent
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Rows, Stream
from srfoundry.degradation.random_degradation import degraded
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.dual_regression.batch import Batch, DegradedBatch, Whole, reduced_alone
from srfoundry.dual_regression.unpaired import Unpaired, windows, with_unpaired
from srfoundry.imaging import resize
from srfoundry.imaging.images import from_uint8, to_uint8
from srfoundry.imaging.patches import Patches
from srfoundry.imaging.scales import reductions
from srfoundry.training.settings import PatchDraw

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batch of each step of a training: called with a step's number, the same batch every time.

    Args:
        patches: the photographs.
        draws: size and number of patches, and their share at half size.
        scale: of the network.
        stream: of the random draws.
        unpaired: images without a photograph that stand in for a share of the pairs.
        blur: a dual map of a known kernel that makes the pairs' low-resolution images; MATLAB's bicubic if not given.
        degradation: what makes them instead, drawn anew for each pair.
        device: where that is done.
        processes: among which the rows of each batch are dealt: a batch holds this one's.
        accumulate: parts of these that are computed one after the other.

    Raises:
        FoundryError: there are fewer pairs in a batch than processes, or than parts in all of them.
    """

    patches: Patches
    draws: PatchDraw
    scale: int
    stream: Stream
    unpaired: Unpaired = Unpaired()
    blur: nn.Module | None = None
    degradation: RandomDegradation | None = None
    device: torch.device = CPU
    processes: Processes = ALONE
    accumulate: int = 1

    def __post_init__(self) -> None:
        self.processes.parts(self.accumulate, self.draws.batch - self.unpaired.count(self.draws.batch))

    @property
    def parts(self) -> "list[Batches]":
        """Of each batch the parts that are computed one after the other, dealt as to so many processes."""
        dealt = self.processes.parts(self.accumulate, self.draws.batch)
        return [replace(self, processes=part, accumulate=1) for part in dealt]

    @property
    def share(self) -> float:
        """Of a batch's rows that are this process's."""
        return self.processes.share(self.draws.batch)

    def __call__(self, index: int) -> dict[int, Tensor]:
        """The batch of step `index`."""
        draws, count = self.draws, self.unpaired.count(self.draws.batch)
        paired = replace(draws, batch=draws.batch - count)
        found = pairs(
            self.patches,
            paired,
            self.degradation,
            scale=self.scale,
            rng=self.stream.rng(index),
            device=self.device,
            processes=self.processes,
            others=count,
        )
        if self.blur is not None:
            found = reduced_by(self.blur, found, self.scale)
        if count:
            cut = windows(
                self.unpaired.images,
                count=count,
                size=draws.patch // self.scale,
                rng=self.stream.rng("unpaired", index),
            )[self.processes.rows(count, paired.batch)]
            found = with_unpaired(found, cut, self.unpaired.kernels, self.scale) if cut else found
        return found


def pairs(
    patches: Patches,
    draws: PatchDraw,
    degradation: RandomDegradation | None,
    *,
    scale: int,
    rng: torch.Generator,
    device: torch.device = CPU,
    processes: Processes = ALONE,
    others: int = 0,
) -> dict[int, Tensor]:
    """Patches as `draw` gives them, their smallest images degraded anew if a degradation is given.

    The sizes between stay MATLAB's bicubic: they are where a multi-scale net shall pass, whatever its input.

    Args:
        degradation: None, and the model `bicubic`, keep MATLAB's reductions of the prepared set.
        rng: of the places, then of the degradations.
        device: where the images are, and the degradations are done.
        processes: as in `draw`.
        others: rows without a photograph that are to come behind the pairs of the whole batch.
    """
    drawn = draw(patches, draws, scale=scale, rng=rng, processes=processes)
    found = {factor: sent(images, device) for factor, images in drawn.items()}
    count, parted = draws.batch, processes.count > 1
    if degradation is None or degradation.degradation == "bicubic":
        # a part's share of all rows is not its share of the pairs, over which the errors of estimates are means
        return reduced_alone(found, scale, Whole(count + others, count, count)) if parted and others else found
    made = degraded(found[1], scale, degradation, rng=rng, rows=Rows(count, processes.rows(count)))
    whole = Whole(count + others, count, made.known_in_all) if parted else None
    return DegradedBatch.of(found, made, scale, whole)


def draw(
    patches: Patches, draws: PatchDraw, *, scale: int, rng: torch.Generator, processes: Processes = ALONE
) -> dict[int, Tensor]:
    """Aligned patches of which a share of `draws.octave` shows the photographs at half size.

    A few photographs hold few details at full size; at half size they are sharp everywhere. Only the smallest
    reduction has to be made for it (MATLAB's bicubic, 8 bits, as in the prepared set); the others are there. At x3,
    whose set has no half, it is a third. (Training on photographs alone draws its patches by another rule, from
    those that are large enough: blind.nonblind_pairs. Here every reduction is needed.)

    Args:
        draws: size, number and share at half size; halved photographs are cut twice as large.
        scale: of the network, whose reductions the set must hold.
        rng: of the places, drawn for full size first.
        processes: among which the rows are dealt; the places of all are drawn by each.

    Returns:
        For each reduction up to `scale` its patches, this process's rows of `draws.batch`.
    """
    count, patch = draws.batch, draws.patch
    factors = reductions(scale)
    step = factors[1]
    halved = draws.halved
    parts = []
    if halved < count:
        rows = processes.rows(count - halved)
        full = patches.batch(count - halved, patch, rng=rng, rows=rows, permuted=draws.permuted)
        parts.append({factor: full[factor] for factor in factors})
    if halved:
        wide = patches.batch(
            halved,
            step * patch,
            rng=rng,
            factors=sorted({scale, *(step * factor for factor in factors[:-1])}),
            rows=processes.rows(halved, count - halved),
            permuted=draws.permuted,
        )
        if len(wide[scale]):
            smaller = resize.cubic_uint8(to_uint8(wide[scale]).permute(0, 3, 1, 2), 1 / step).permute(0, 2, 3, 1)
            parts.append({factor: wide[step * factor] for factor in factors[:-1]} | {scale: from_uint8(smaller)})
    return {factor: torch.cat([part[factor] for part in parts]) for factor in factors}


def targets(batch: Batch, scale: int) -> list[Tensor]:
    """t_0 .. t_P of the loss: the photograph reduced by s, s/2, .., 1, smallest first (t_0 is also the input)."""
    return [batch[factor] for factor in reversed(reductions(scale))]


def reduced_by(mapping: nn.Module, batch: Batch, scale: int) -> dict[int, Tensor]:
    """The batch with its smallest images made by a known dual map (a KernelDual), in 8 bits as files would hold them.

    The sizes between stay MATLAB's bicubic: they are where a multi-scale net shall pass, whatever its input.
    """
    with torch.no_grad():
        (low,) = mapping([batch[1]])
    return {**batch, scale: from_uint8(to_uint8(low))}
