"""Diffusion models as diffusers keeps them: a U-Net with the noise that it was trained on, made, written and read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from srfoundry.blind.diffusion.denoiser import Denoiser, Target
from srfoundry.core.atomic import published
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import redraw

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

STEPS = 1000  # T of our own models, under DDPM's linear betas


def make_unet(
    *, patch: int, widths: Sequence[int], rng: torch.Generator, device: torch.device | str = "cpu"
) -> "UNet2DModel":
    """A small diffusers U-Net with random weights: one residual block a size, attention at the smallest.

    It starts as the zero function: the last layer is 0.
    """
    from diffusers.models.unets.unet_2d import UNet2DModel

    if patch % 2 ** (len(widths) - 1) or any(width % 8 for width in widths):
        raise FoundryError(
            f"the U-Net halves its patch {len(widths) - 1} times and groups channels by 8, got patch {patch}, widths "
            f"{list(widths)}; change them in the diffuse section of params.yaml"
        )
    attended = [False] * (len(widths) - 1) + [True]
    with torch.random.fork_rng(devices=[]):  # PyTorch draws weights that are drawn again below
        net = UNet2DModel(
            sample_size=patch,
            block_out_channels=tuple(widths),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=16,
            down_block_types=tuple("AttnDownBlock2D" if yes else "DownBlock2D" for yes in attended),
            up_block_types=tuple("AttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attended)),
        )
    redraw(net, rng)
    for value in net.conv_out.parameters():
        nn.init.zeros_(value)
    nn.Module.to(net, device)  # diffusers' own `to` has no types
    return net


def own_denoiser(net: nn.Module, *, patch: int) -> Denoiser:
    """A network of `make_unet` as denoiser: v under DDPM's betas."""
    return Denoiser(net, _scheduler().alphas_cumprod, "v_prediction", patch)


def save_unet(folder: Path, net: "UNet2DModel") -> None:
    """Write a network of `make_unet` as diffusers writes a DDPMPipeline; the folder is replaced as a whole."""
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline

    with published(folder) as fresh:
        DDPMPipeline(net, _scheduler()).save_pretrained(fresh)


def load_denoiser(folder: Path, *, device: torch.device | str = "cpu", tile: int | None = None) -> Denoiser:
    """Read an unconditional diffusion model from a local diffusers folder; nothing is downloaded or unpickled.

    Args:
        folder: as a pipeline is saved (unet/, scheduler/), or both configs side by side, as older ones are.
        tile: pixels a side that the network shall see at once; None takes the size that it was trained on.

    Raises:
        FoundryError: the folder holds no such model, a conditional or latent one, one of other noise than DDPM's, or
            weights that are no safetensors file.
    """
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    nets, schedulers = (folder / name if (folder / name).is_dir() else folder for name in ("unet", "scheduler"))
    config, noise = _config(nets / "config.json"), _config(schedulers / "scheduler_config.json")
    classes = config.get("num_class_embeds"), config.get("class_embed_type")
    if config.get("_class_name") != "UNet2DModel" or config.get("in_channels") != 3 or any(classes):
        raise FoundryError(
            f"{folder} must hold an unconditional UNet2DModel of RGB pixels, got {config.get('_class_name')} of "
            f"{config.get('in_channels')} channels, classes {classes}; name another folder"
        )
    betas = noise.get("beta_schedule", noise.get("trained_betas"))
    target = noise.get("prediction_type", "epsilon")
    if betas is None or target not in get_args(Target):
        raise FoundryError(
            f"{folder} must add noise as DDPM does and predict one of {', '.join(get_args(Target))}, got "
            f"{noise.get('_class_name')} with betas {betas}, prediction {target}; name another folder"
        )
    if not any(nets.glob("*.safetensors")):
        raise FoundryError(f"{nets} holds no .safetensors weights; save the model again with save_pretrained")
    try:
        net = UNet2DModel.from_pretrained(nets, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False)
        keep = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
        plain = {name: noise[name] for name in (*keep, "rescale_betas_zero_snr") if name in noise}
        signal = DDPMScheduler(**plain).alphas_cumprod
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FoundryError(f"{folder} is damaged or incomplete ({reason}); save the model again") from None
    size = config.get("sample_size") or 64
    side = tile or (max(size) if isinstance(size, list) else size)
    nn.Module.to(net.eval().requires_grad_(False), device)  # diffusers' own `to` has no types
    return Denoiser(net, signal, target, side)


def _scheduler() -> "DDPMScheduler":
    """The noise of our own models."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=STEPS, prediction_type="v_prediction")


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; name a local folder of a diffusers model") from None
    except (ValueError, OSError) as error:
        raise FoundryError(f"{path} is damaged ({error}); save the model again") from None
