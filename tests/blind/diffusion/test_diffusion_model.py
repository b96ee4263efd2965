"""The diffusion prior: what its equations mean, a training that resumes to the same bytes, folders read and refused."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from srfoundry.blind.diffusion import diffusion_model
from srfoundry.blind.nonblind_training import draw_high, roomy
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.training.settings import Descent, PatchDraw
from tests.blind.dkp.test_prior import power_law
from tests.closed import prepared

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel

WIDTHS = [8, 16]


class Tells(nn.Module):
    """A network that knows e and x_0, and tells what it is asked for."""

    def __init__(self, clean: Tensor, noise: Tensor, signal: Tensor, target: str) -> None:
        super().__init__()
        self.clean, self.noise, self.signal, self.target = clean, noise, signal, target

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        kept = self.signal[steps].view(-1, 1, 1, 1)
        told = {"sample": self.clean, "epsilon": self.noise}.get(self.target)
        told = kept.sqrt() * self.noise - (1 - kept).sqrt() * self.clean if told is None else told
        return SimpleNamespace(sample=torch.cat([told, torch.zeros_like(told)], dim=1))  # variances behind


@pytest.mark.parametrize("target", ["epsilon", "v_prediction", "sample"])
def test_every_target_leads_to_the_same_image(target: diffusion_model.Target) -> None:
    signal = torch.tensor([0.99, 0.5, 0.01])
    clean, noise = torch.rand(3, 3, 8, 8) * 2 - 1, torch.randn(3, 3, 8, 8)
    kept = signal.view(-1, 1, 1, 1)
    denoiser = diffusion_model.Denoiser(Tells(clean, noise, signal, target), signal, target, 8)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    torch.testing.assert_close(denoiser.clean(noisy, torch.arange(3)), clean, atol=1e-4, rtol=0)


class Local(nn.Module):
    """A network that looks at one pixel at a time: tiles cannot matter."""

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=torch.tanh(2 * noisy))


@pytest.mark.parametrize("size", [(16, 16), (40, 27), (9, 50), (3, 5)])
def test_tiles_cover_a_torus_of_any_size(size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size)
    denoiser = diffusion_model.Denoiser(Local(), torch.tensor([0.9, 0.1]), "sample", 16)
    for seed in range(3):
        found = denoiser.torus(image, 1, rng=generator(seed, "tiles"), batch=3)
        torch.testing.assert_close(found, torch.tanh(2 * image))


class Mean(nn.Module):
    """A network whose answer depends on the tile that it is shown."""

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=noisy.mean(dim=(1, 2, 3), keepdim=True).expand_as(noisy))


def test_tiles_are_added_in_their_order() -> None:
    """Their sum is the same to the bit however many the network sees at once."""
    image = torch.randn(1, 3, 40, 27)
    denoiser = diffusion_model.Denoiser(Mean(), torch.tensor([0.9, 0.1]), "sample", 16)
    few, many = (denoiser.torus(image, 1, rng=generator(1, "tiles"), batch=batch) for batch in (1, 16))
    assert torch.equal(few, many) and float(few.std()) > 0
    # a torus has no place of its own: moved with the tiles' origin, the answer moves along
    origin = torch.randint(2**31, (2,), generator=generator(1, "tiles")) % torch.tensor([40, 27])
    rows, columns = (diffusion_model._starts(side, 16, 0) for side in (40, 27))
    moved = image.roll(tuple((-origin).tolist()), (-2, -1))
    total, heard = torch.zeros_like(moved), torch.zeros(40, 27)
    axis = torch.sin(torch.pi * (torch.arange(16) + 0.5) / 16).square() + 1e-3
    for place in ((row, column) for row in rows for column in columns):
        down, across = ((torch.arange(16) + first) % side for first, side in zip(place, (40, 27), strict=True))
        total[..., down[:, None], across] += axis[:, None] * axis * moved[..., down[:, None], across].mean()
        heard[down[:, None], across] += axis[:, None] * axis
    torch.testing.assert_close(few.roll(tuple((-origin).tolist()), (-2, -1)), total / heard)


def test_small_photographs_are_shown_at_full_size_alone(tmp_path: Path) -> None:
    """As `synthesize.smallest` admits them; only those that a reduced patch fits into are shown reduced."""
    flat = {"small": torch.full((1, 3, 32, 40), 0.2), "large": torch.full((1, 3, 64, 64), 0.8)}
    patches = prepared(tmp_path, flat, [1, 2])
    high = draw_high(patches, roomy(patches, 32), count=64, patch=32, octave=0.5, rng=generator(1, "draw"))
    shown = high.mean(dim=(1, 2, 3))
    assert high.shape == (64, 3, 32, 32) and bool((shown[32:] > 0.7).all()) and bool((shown[:32] < 0.3).any())
    none = patches.only(["small"])
    assert draw_high(none, roomy(none, 32), count=3, patch=32, octave=1.0, rng=generator(1, "d")).shape[0] == 3


def test_noise_levels() -> None:
    denoiser = diffusion_model.own(Local(), patch=16)
    assert len(denoiser.signal) == 1000 and float(denoiser.signal[0]) > 0.999 > 0.001 > float(denoiser.signal[-1])
    step = diffusion_model.nearest(denoiser, 0.1)
    assert float(diffusion_model.deviations(denoiser.signal[step])) == pytest.approx(0.1, rel=0.02)


def train(
    net: nn.Module, patches: Patches, checkpoint: Path, steps: int, stop: int | None = None
) -> list[dict[str, float]]:
    class Killed(Exception): ...

    def log(step: int, values: dict[str, float]) -> None:
        if step == stop:
            raise Killed

    try:
        return diffusion_model.train(
            net,
            patches,
            PatchDraw(patch=16, octave=0.5, batch=4),
            Descent(steps=steps, learning_rate=1e-2, warmup=2, average=0.8, clip=1.0),
            compute=Compute(torch.device("cpu")),
            stream=Stream(1, "diffuse"),
            resumption=Resumption(checkpoint, "key", log),
        )
    except Killed:
        return []


def fresh() -> "UNet2DModel":
    return diffusion_model.make(patch=16, widths=WIDTHS, rng=generator(1, "net"))


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
        diffusion_model.validate(
            diffusion_model.own(net.eval(), patch=16), patches, levels=[0.1, 0.3], seed=1, device=torch.device("cpu")
        )
        for net in (fresh(), whole)
    )
    assert after["sigma_0.1"] > before["sigma_0.1"] + 0.5 and after["sigma_0.3"] > 11.0  # 10.5: the noise itself


def test_a_folder_of_diffusers_comes_back_as_it_was_written(tmp_path: Path) -> None:
    net = fresh().eval()
    torch.nn.init.normal_(net.conv_out.weight, generator=generator(1, "out"))
    for name in ("one", "two"):
        diffusion_model.save(tmp_path / name, net)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert Path("model_index.json") in files and len(files) == 4
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    flat = tmp_path / "flat"  # as older models lie
    flat.mkdir()
    for path in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
        shutil.copy(tmp_path / "one" / path, flat)
    noisy = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        wanted = diffusion_model.own(net, patch=16).clean(noisy, 300)
    for folder in (tmp_path / "one", flat):
        found = diffusion_model.load(folder)
        assert (found.target, found.tile) == ("v_prediction", 16) and diffusion_model.load(folder, tile=32).tile == 32
        torch.testing.assert_close(found.clean(noisy, 300), wanted, atol=1e-4, rtol=0)
    assert load_file(flat / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("unet/config.json", {"num_class_embeds": 10}, "unconditional"),
        ("unet/config.json", {"in_channels": 4}, "RGB pixels"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel"),
        ("unet/config.json", {"block_out_channels": [8, 24]}, "damaged or incomplete"),
        ("scheduler/scheduler_config.json", {"_class_name": "X", "beta_schedule": None}, "as DDPM does"),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "as DDPM does"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, file: str, change: dict[str, object], message: str) -> None:
    diffusion_model.save(tmp_path / "model", fresh())
    path = tmp_path / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FoundryError, match=message):
        diffusion_model.load(tmp_path / "model")


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="not found; name a local folder"):
        diffusion_model.load(tmp_path)
    diffusion_model.save(tmp_path / "model", fresh())
    weights = tmp_path / "model/unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(FoundryError, match="no .safetensors weights"):
        diffusion_model.load(tmp_path / "model")
    with pytest.raises(FoundryError, match="patch 18"):
        diffusion_model.make(patch=18, widths=[8, 16, 24], rng=generator(1, "net"))
