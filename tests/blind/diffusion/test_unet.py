"""Diffusion models as files: written and read without a change, and others refused with a reason."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from srfoundry.blind.diffusion.unet import load_denoiser, make_unet, own_denoiser, save_unet
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel

WIDTHS = [8, 16]


def fresh() -> "UNet2DModel":
    return make_unet(patch=16, widths=WIDTHS, rng=generator(1, "net"))


def test_a_folder_of_diffusers_comes_back_as_it_was_written(tmp_path: Path) -> None:
    net = fresh().eval()
    torch.nn.init.normal_(net.conv_out.weight, generator=generator(1, "out"))
    for name in ("one", "two"):
        save_unet(tmp_path / name, net)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert Path("model_index.json") in files and len(files) == 4
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    flat = tmp_path / "flat"  # as older models lie
    flat.mkdir()
    for path in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
        shutil.copy(tmp_path / "one" / path, flat)
    noisy = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        wanted = own_denoiser(net, patch=16).clean(noisy, 300)
    for folder in (tmp_path / "one", flat):
        found = load_denoiser(folder)
        assert (found.target, found.tile) == ("v_prediction", 16) and load_denoiser(folder, tile=32).tile == 32
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
    save_unet(tmp_path / "model", fresh())
    path = tmp_path / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FoundryError, match=message):
        load_denoiser(tmp_path / "model")


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="not found; name a local folder"):
        load_denoiser(tmp_path)
    save_unet(tmp_path / "model", fresh())
    weights = tmp_path / "model/unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(FoundryError, match="no .safetensors weights"):
        load_denoiser(tmp_path / "model")
    with pytest.raises(FoundryError, match="patch 18"):
        make_unet(patch=18, widths=[8, 16, 24], rng=generator(1, "net"))
