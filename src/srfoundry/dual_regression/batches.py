"""What dual regression is trained on: aligned patches at every scale, and low-resolution images without a photograph.

A batch is a tensor for each reduction; 1 is the photograph. Images without a photograph stand at the end of the
smallest tensor alone, which then has more rows than the others: no mask, and no place for an invented target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.imaging import decoding, images, resize
from srfoundry.imaging.images import from_uint8, to_uint8
from srfoundry.imaging.patches import Patches
from srfoundry.imaging.scales import reductions
from srfoundry.training.settings import PatchDraw

Batch = Mapping[int, Float[Tensor, "_ 3 _ _"]]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batch of each step of a training: called with a step's number, the same batch every time.

    Args:
        patches: the photographs.
        draws: size and number of patches, and their share at half size.
        scale: of the network.
        stream: of the random draws.
        unpaired: low-resolution images without a photograph, patch / scale pixels a side or more; only the dual term
            sees them.
        unpaired_share: of each batch, rounded to whole images; at least one pair stays.
        blur: a dual map of a known kernel that makes the pairs' low-resolution images; MATLAB's bicubic if not given.
    """

    patches: Patches
    draws: PatchDraw
    scale: int
    stream: Stream
    unpaired: Sequence[Float[Tensor, "1 3 _ _"]] = ()
    unpaired_share: float = 0.0
    blur: nn.Module | None = None

    def __call__(self, index: int) -> dict[int, Tensor]:
        """The batch of step `index`."""
        draws, count = self.draws, self._unpaired_count()
        paired = replace(draws, batch=draws.batch - count)
        found = draw(self.patches, paired, scale=self.scale, rng=self.stream.rng(index))
        if self.blur is not None:
            found = reduced_by(self.blur, found, self.scale)
        if count:
            rng = self.stream.rng("unpaired", index)
            low = windows(self.unpaired, count=count, size=draws.patch // self.scale, rng=rng)
            found[self.scale] = torch.cat([found[self.scale], low])
        return found

    def _unpaired_count(self) -> int:
        if not self.unpaired:
            return 0
        return min(round(self.draws.batch * self.unpaired_share), self.draws.batch - 1)


def draw(patches: Patches, draws: PatchDraw, *, scale: int, rng: torch.Generator) -> dict[int, Tensor]:
    """Aligned patches of which a share of `draws.octave` shows the photographs at half size.

    A few photographs hold few details at full size; at half size they are sharp everywhere. Only the smallest
    reduction has to be made for it (MATLAB's bicubic, 8 bits, as in the prepared set); the others are there. At x3,
    whose set has no half, it is a third. (Training on photographs alone draws its patches by another rule, from
    those that are large enough: blind.nonblind_pairs. Here every reduction is needed.)

    Args:
        draws: size, number and share at half size; halved photographs are cut twice as large.
        scale: of the network, whose reductions the set must hold.
        rng: of the places, drawn for full size first.

    Returns:
        For each reduction up to `scale` its patches, `draws.batch` rows.
    """
    count, patch = draws.batch, draws.patch
    factors = reductions(scale)
    step = factors[1]
    halved = draws.halved
    parts = []
    if halved < count:
        full = patches.batch(count - halved, patch, rng=rng)
        parts.append({factor: full[factor] for factor in factors})
    if halved:
        wide = patches.batch(halved, step * patch, rng=rng)
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


def read_unpaired(folder: Path, size: int) -> list[Float[Tensor, "1 3 h w"]]:
    """Every image of a folder, sorted by name: low-resolution ones without a photograph.

    Raises:
        FoundryError: the folder is missing or empty, or an image is smaller than `size` pixels a side or unreadable.
    """
    found = {path: images.read(path) for path in decoding.find(folder)}
    for path, image in found.items():
        if min(image.shape[-2:]) < size:
            shape = "x".join(map(str, image.shape[-2:]))
            raise FoundryError(f"{path} ({shape}) is smaller than a low-resolution patch of {size}; remove it")
    return list(found.values())


def windows(
    sources: Sequence[Float[Tensor, "1 3 _ _"]], *, count: int, size: int, rng: torch.Generator
) -> Float[Tensor, "n 3 p p"]:
    """Random windows of `size` pixels a side, sources drawn evenly, flipped and rotated (8 ways)."""
    found = []
    for which, top, left, turn in torch.randint(2**31, (count, 4), generator=rng).tolist():
        image = sources[which % len(sources)][0]
        top, left = top % (image.shape[-2] - size + 1), left % (image.shape[-1] - size + 1)
        cut = image[:, top : top + size, left : left + size]
        cut = cut.flip(-1) if turn % 8 >= 4 else cut
        found.append(torch.rot90(cut, turn % 4, (-2, -1)))
    return torch.stack(found)
