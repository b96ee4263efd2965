"""Training of the diffusion model: it learns to denoise, and resumes to the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from srfoundry.blind.diffusion.training import train_denoiser, validate_denoiser
from srfoundry.blind.diffusion.unet import make_unet, own_denoiser
from srfoundry.blind.nonblind_pairs import SharpPatches
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.training.settings import Descent, PatchDraw
from tests.blind_cases import power_law
from tests.closed import CPU, prepared

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel


def train(
    net: nn.Module, patches: Patches, checkpoint: Path, steps: int, stop: int | None = None, accumulate: int = 1
) -> list[dict[str, float]]:
    class Killed(Exception): ...

    def log(step: int, values: dict[str, float]) -> None:
        if step == stop:
            raise Killed

    try:
        return train_denoiser(
            net,
            SharpPatches(patches, PatchDraw(patch=16, octave=0.5, batch=4)),
            Descent(steps=steps, learning_rate=1e-2, warmup=2, average=0.8, clip=1.0),
            compute=Compute(CPU, accumulate=accumulate),
            stream=Stream(1, "diffuse"),
            resumption=Resumption(checkpoint, "key", log),
        )
    except Killed:
        return []


def fresh() -> "UNet2DModel":
    return make_unet(patch=16, widths=[8, 16], rng=generator(1, "net"))


def test_training_learns_and_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", -1.0)  # a checkpoint at each row
    patches = prepared(tmp_path, {name: power_law(48, seed).clamp(0, 1) for seed, name in enumerate("ab")}, [1, 2])
    untouched = torch.get_rng_state()
    whole, cut = fresh(), fresh()
    assert torch.equal(torch.get_rng_state(), untouched)
    history = train(whole, patches, tmp_path / "whole.pt", 20)
    assert train(cut, patches, tmp_path / "cut.pt", 20, stop=7) == []
    cut = fresh()
    assert train(cut, patches, tmp_path / "cut.pt", 20) == history
    for one, two in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(one, two)
    before, after = (
        validate_denoiser(own_denoiser(net.eval(), patch=16), patches, levels=[0.1, 0.3], seed=1, device=CPU)
        for net in (fresh(), whole)
    )
    assert after["sigma_0.1"] > before["sigma_0.1"] + 0.5 and after["sigma_0.3"] > 11.0  # 10.5: the noise itself


def test_parts_have_the_gradient_of_the_whole(tmp_path: Path) -> None:
    patches = prepared(tmp_path, {name: power_law(48, seed).clamp(0, 1) for seed, name in enumerate("ab")}, [1, 2])
    slopes = []
    for parts in (1, 3):
        net = fresh()
        train(net, patches, tmp_path / f"{parts}.pt", 1, accumulate=parts)
        slopes.append(torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None]))
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-5 * float(slopes[0].norm()), rtol=1e-4)
