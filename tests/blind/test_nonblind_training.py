"""The non-blind network's pairs and training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.blind import nonblind_training
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, photographs
from tests.nonblind import tiny_usrnet


def run(patches: Patches, folder: Path, *, stop: int | None = None) -> USRNet:
    net = tiny_usrnet()

    def log(step: int, _values: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    nonblind_training.train(
        net,
        patches,
        PatchDraw(patch=16, octave=0.5, batch=2),
        Descent(steps=4, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0),
        scales=[2],
        noise=0.04,
        motion=0.5,
        compute=Compute(CPU),
        stream=Stream(1, "nonblind"),
        resumption=Resumption(folder / "nonblind.pt", "k", log),
    )
    return net


def test_pairs_are_what_they_say(tmp_path: Path) -> None:
    rng = generator(1, "pairs")
    kernel = nonblind_training.draw_kernels(4, scale=2, motion=0.5, rng=rng)
    patches = photographs(tmp_path)
    drawn = nonblind_training.pairs(
        patches, nonblind_training.roomy(patches, 16), scale=2, kernel=kernel, patch=16, octave=0.5, noise=0.0, rng=rng
    )
    again = degrade(drawn.high, drawn.kernel, 2, border="circular")
    assert drawn.low.shape == (4, 3, 8, 8) and float(drawn.noise.abs().max()) == 0
    assert float((again - drawn.low).abs().max()) <= 0.5 / 255 + 1e-6
    assert torch.allclose(drawn.kernel.sum(dim=(1, 2)), torch.ones(4), atol=1e-5)


def test_some_photographs_are_soft_and_are_their_own_targets(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    sharp = patches.batch(200, 16, rng=generator(1, "soft"), factors=[1])[1]
    soft = nonblind_training.soften(sharp, 0.7, rng=generator(2, "soft"))
    assert torch.equal(soft, nonblind_training.soften(sharp, 0.7, rng=generator(2, "soft")))
    changed = (soft != sharp).flatten(1).any(dim=1)
    assert (
        abs(float(changed.float().mean()) - nonblind_training.SOFT) < 0.12
    )  # draws of hardly any width change nothing
    levels = 255 * soft[changed]
    assert float((levels - levels.round()).abs().max()) < 1e-3
    steps = [image.diff(dim=-1).square().sum(dim=(1, 2, 3)) for image in (soft, sharp)]
    assert bool((steps[0][changed] < steps[1][changed]).float().mean() > 0.95)
    assert torch.allclose(soft.mean(dim=(-1, -2)), sharp.mean(dim=(-1, -2)), atol=2 / 255)

    kernel = nonblind_training.draw_kernels(8, scale=2, motion=0.0, rng=generator(3, "soft"))
    common: dict[str, Any] = {"scale": 2, "kernel": kernel, "patch": 16, "octave": 0.0, "noise": 0.0}
    drawn = nonblind_training.pairs(patches, None, **common, softness=0.7, rng=generator(4, "soft"))
    again = degrade(drawn.high, drawn.kernel, 2, border="circular")
    assert float((again - drawn.low).abs().max()) <= 0.5 / 255 + 1e-6, "the soft photograph is what was blurred"
    cases: list[dict[str, Any]] = [{}, {"softness": 0.0}]
    plain = [nonblind_training.pairs(patches, None, **common, **more, rng=generator(4, "soft")) for more in cases]
    assert torch.equal(plain[0].low, plain[1].low) and not torch.equal(plain[0].high, drawn.high)


def test_training_moves_every_weight_and_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path)
    whole = run(patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(patches, tmp_path / "cut", stop=3)
    resumed = run(patches, tmp_path / "cut")
    for first, second, before in zip(whole.parameters(), resumed.parameters(), tiny_usrnet().parameters(), strict=True):
        assert torch.equal(first, second) and not torch.equal(first, before)


def test_small_photographs_are_shown_at_full_size_alone(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    assert nonblind_training.roomy(patches, 40) is None
    kernel = nonblind_training.draw_kernels(2, scale=2, motion=0.0, rng=generator(1, "kernel"))
    rng = generator(1, "pairs")
    assert (
        nonblind_training.pairs(
            patches, None, scale=2, kernel=kernel, patch=40, octave=0.5, noise=0.0, rng=rng
        ).high.shape[0]
        == 2
    )
