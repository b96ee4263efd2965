"""Training pairs of the non-blind network: what is drawn, degraded and soft, and that a pair is what it says."""

from pathlib import Path

import torch

from srfoundry.blind import nonblind_pairs
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches, draw_kernels, soften
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.patches import Patches
from srfoundry.training.settings import PatchDraw
from tests.closed import photographs, prepared


def drawn_from(patches: Patches, *, batch: int, patch: int = 16, octave: float = 0.5) -> SharpPatches:
    return SharpPatches(patches, PatchDraw(patch=patch, octave=octave, batch=batch))


def test_pairs_are_what_they_say(tmp_path: Path) -> None:
    rng = generator(1, "pairs")
    kernel = draw_kernels(4, scale=2, motion=0.5, rng=rng)
    drawn = PairDraw(drawn_from(photographs(tmp_path), batch=4), noise=0.0).draw(kernel, 2, rng=rng)
    again = degrade(drawn.high, drawn.kernel, 2, border="circular")
    assert drawn.low.shape == (4, 3, 8, 8) and float(drawn.noise.abs().max()) == 0
    assert float((again - drawn.low).abs().max()) <= 0.5 / 255 + 1e-6
    assert torch.allclose(drawn.kernel.sum(dim=(1, 2)), torch.ones(4), atol=1e-5)


def test_some_photographs_are_soft_and_are_their_own_targets(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    sharp = patches.batch(200, 16, rng=generator(1, "soft"), factors=[1])[1]
    soft = soften(sharp, 0.7, rng=generator(2, "soft"))
    assert torch.equal(soft, soften(sharp, 0.7, rng=generator(2, "soft")))
    changed = (soft != sharp).flatten(1).any(dim=1)
    assert abs(float(changed.float().mean()) - nonblind_pairs.SOFT) < 0.12  # draws of hardly any width change nothing
    levels = 255 * soft[changed]
    assert float((levels - levels.round()).abs().max()) < 1e-3
    steps = [image.diff(dim=-1).square().sum(dim=(1, 2, 3)) for image in (soft, sharp)]
    assert bool((steps[0][changed] < steps[1][changed]).float().mean() > 0.95)
    assert torch.allclose(soft.mean(dim=(-1, -2)), sharp.mean(dim=(-1, -2)), atol=2 / 255)

    kernel = draw_kernels(8, scale=2, motion=0.0, rng=generator(3, "soft"))
    source = drawn_from(patches, batch=8, octave=0.0)
    drawn, plain = (
        PairDraw(source, 0.0, softness).draw(kernel, 2, rng=generator(4, "soft")) for softness in (0.7, 0.0)
    )
    again = degrade(drawn.high, drawn.kernel, 2, border="circular")
    assert float((again - drawn.low).abs().max()) <= 0.5 / 255 + 1e-6, "the soft photograph is what was blurred"
    assert not torch.equal(plain.high, drawn.high)


def test_small_photographs_are_shown_at_full_size_alone(tmp_path: Path) -> None:
    source = drawn_from(photographs(tmp_path), batch=2, patch=40)
    assert source.large is None
    kernel = draw_kernels(2, scale=2, motion=0.0, rng=generator(1, "kernel"))
    assert PairDraw(source, noise=0.0).draw(kernel, 2, rng=generator(1, "pairs")).high.shape == (2, 3, 40, 40)


def test_only_photographs_with_room_for_it_are_shown_at_half_size(tmp_path: Path) -> None:
    """As `synthesize.smallest` admits them."""
    flat = {"small": torch.full((1, 3, 32, 40), 0.2), "large": torch.full((1, 3, 64, 64), 0.8)}
    patches = prepared(tmp_path, flat, [1, 2])
    high = drawn_from(patches, batch=64, patch=32).draw(rng=generator(1, "draw"))
    shown = high.mean(dim=(1, 2, 3))
    assert high.shape == (64, 3, 32, 32) and bool((shown[32:] > 0.7).all()) and bool((shown[:32] < 0.3).any())
    alone = drawn_from(patches.only(["small"]), batch=3, patch=32, octave=1.0)
    assert alone.draw(rng=generator(1, "d")).shape[0] == 3
