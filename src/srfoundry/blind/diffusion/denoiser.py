"""A diffusion model as image prior: any local unconditional one of diffusers, or a small one trained here.

DDPM (Ho, Jain and Abbeel, NeurIPS 2020): x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e for images in [-1, 1], where a_t falls
from 1 to about 0 over the steps t. A network that is shown x_t and t is asked for e, for x_0, or for
v = sqrt(a_t) e - sqrt(1 - a_t) x_0 (Salimans and Ho, ICLR 2022). Only here do images leave [0, 1],
and only here is diffusers known: that is why training, files and tiles of the model stand in one, long file.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from srfoundry.blind.nonblind_training import draw_high, roomy
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent, PatchDraw

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

Target = Literal["epsilon", "v_prediction", "sample"]
STEPS = 1000  # T of our own models, under DDPM's linear betas
OVERLAP = 0.25  # of a tile's side
MIDDLE = 128  # pixels a side of a validation photograph that are judged, at most


@dataclass(frozen=True)
class Denoiser:
    """A diffusion model at work: E[x_0 | x_t] of images of any size.

    Attributes:
        net: `n 3 p p` and a step in, diffusers' output object back (its `sample`; variances behind are left out).
        signal: a_t, one a step.
        target: what the network tells.
        tile: pixels a side that the network sees at once; what it was trained on.
    """

    net: nn.Module
    signal: Float[Tensor, " t"]
    target: Target
    tile: int

    def clean(self, noisy: Float[Tensor, "b 3 h w"], step: Int[Tensor, " b"] | int) -> Float[Tensor, "b 3 h w"]:
        """E[x_0 | x_t], unclipped, in [-1, 1] as `noisy`; the whole at once."""
        steps = torch.as_tensor(step, device=noisy.device).expand(len(noisy))
        told = self.net(noisy, steps).sample[:, :3].float()
        kept = self.signal.to(noisy.device)[steps].view(-1, 1, 1, 1)
        if self.target == "sample":
            return told
        if self.target == "v_prediction":
            return kept.sqrt() * noisy - (1 - kept).sqrt() * told
        return (noisy - (1 - kept).sqrt() * told) / kept.sqrt()

    def torus(
        self, noisy: Float[Tensor, "1 3 h w"], step: int, *, rng: torch.Generator, batch: int = 16
    ) -> Float[Tensor, "1 3 h w"]:
        """E[x_0 | x_t] of a periodic image of any size, by overlapping tiles under smooth weights.

        Tiles are laid evenly from an origin that is drawn: over many steps no seam keeps its place. They are added one
        after another, since sums of many at once have no fixed order on a GPU, and so no fixed bytes.
        """
        tile, sides = self.tile, noisy.shape[-2:]
        origin = torch.randint(2**31, (2,), generator=rng).tolist()
        rows, columns = (_starts(side, tile, first) for side, first in zip(sides, origin, strict=True))
        corners = [(row, column) for row in rows for column in columns]
        down, across = (torch.arange(side + tile, device=noisy.device) % side for side in sides)
        wide = noisy[0, :, down][..., across]  # the torus, unrolled as far as tiles reach
        axis = torch.sin(torch.pi * (torch.arange(tile, device=noisy.device) + 0.5) / tile).square() + 1e-3
        weight = axis[:, None] * axis
        total = torch.zeros_like(wide)
        heard = torch.zeros_like(wide[:1])
        for first in range(0, len(corners), batch):
            places = [
                (slice(None), slice(row, row + tile), slice(column, column + tile))
                for row, column in corners[first : first + batch]
            ]
            clean = self.clean(torch.stack([wide[place] for place in places]), step) * weight
            for place, part in zip(places, clean, strict=True):
                total[place] += part
                heard[place] += weight
        return (_rolled(total, sides) / _rolled(heard, sides))[None]


def make(
    *, patch: int, widths: Sequence[int], rng: torch.Generator, device: torch.device | str = "cpu"
) -> "UNet2DModel":
    """A small diffusers U-Net with random weights: one residual block a size, attention at the smallest.

    It starts as the zero function, so that x_t tells v nothing yet: the last layer is 0.
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


def own(net: nn.Module, *, patch: int) -> Denoiser:
    """A network of `make` as denoiser: v under DDPM's betas."""
    return Denoiser(net, _scheduler().alphas_cumprod, "v_prediction", patch)


def train(
    net: nn.Module,
    patches: Patches,
    draws: PatchDraw,
    descent: Descent,
    *,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train with the mean squared error of v (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        draws: the patches of a step; those at half size (or what else the set holds) if there is one large enough.
        descent: steps and rates.
    """
    device, batch = compute.device, draws.batch
    large = roomy(patches, draws.patch)
    optimisation = Optimisation(net, nn.Module(), descent)
    denoiser = own(net, patch=draws.patch)
    signal = denoiser.signal.to(device)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng(index)
        high = draw_high(patches, large, count=batch, patch=draws.patch, octave=draws.octave, rng=rng)
        # one time from each of `batch` equal spans: their mean varies less than that of free draws
        spans = (torch.rand(batch, generator=rng) + torch.arange(batch)) / batch
        times = (spans * len(signal)).long().clamp_max(len(signal) - 1).to(device)
        noise = torch.randn(high.shape, generator=rng).to(device)
        clean, kept = 2 * high.to(device) - 1, signal[times].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        with compute.autocast():
            told = net(noisy, times).sample
        loss = (told.float() - (kept.sqrt() * noise - (1 - kept).sqrt() * clean)).square().mean()
        rate = restarted(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update({"total": loss}, rate)

    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=stream.name)
    optimisation.finish()
    return history


def validate(
    denoiser: Denoiser, patches: Patches, *, levels: Sequence[float], seed: int, device: torch.device
) -> dict[str, float]:
    """Denoising PSNR in dB, peak 1, at standard deviations of white noise in [0, 1], over a set's photographs.

    A figure is held against the noise itself: at deviation s it has -20 log10 s dB.
    """
    found: dict[str, float] = {}
    names = patches.photographs()
    for level in levels:
        step = nearest(denoiser, level)
        kept = denoiser.signal[step]
        errors = []
        for name in names:
            image = patches.image(name)
            top, left = (max(0, extent - MIDDLE) // 2 for extent in image.shape[-2:])
            high = image[..., top : top + MIDDLE, left : left + MIDDLE]
            noise = torch.randn(high.shape, generator=generator(seed, "denoise", name, str(level)))
            noisy = kept.sqrt() * (2 * high - 1) + (1 - kept).sqrt() * noise
            with torch.inference_mode():
                clean = denoiser.torus(noisy.to(device), step, rng=generator(seed, "tiles", name)).cpu()
            errors.append(((clean + 1) / 2 - high).square().mean())
        found[f"sigma_{level}"] = float(-10 * torch.log10(torch.stack(errors).mean()))
    return found


def nearest(denoiser: Denoiser, level: float) -> int:
    """The step t whose noise over signal is nearest to standard deviation `level` of images in [0, 1]."""
    return int((deviations(denoiser.signal).log() - torch.tensor(level).log()).abs().argmin())


def deviations(signal: Float[Tensor, "*t"]) -> Float[Tensor, "*t"]:
    """sqrt((1 - a_t) / a_t) / 2: the noise of x_t / sqrt(a_t) when images are in [0, 1]."""
    return ((1 - signal) / signal.clamp_min(1e-12)).sqrt() / 2


def save(folder: Path, net: "UNet2DModel") -> None:
    """Write a network of `make` as diffusers writes a DDPMPipeline; the folder is replaced as a whole."""
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    DDPMPipeline(net, _scheduler()).save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load(folder: Path, *, device: torch.device | str = "cpu", tile: int | None = None) -> Denoiser:
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
            f"{folder} must add noise as DDPM does and tell one of {', '.join(get_args(Target))}, got "
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


def _starts(side: int, tile: int, first: int) -> list[int]:
    """The first pixel of each tile along one axis of a torus, evenly spread from pixel `first`."""
    count = max(1, -(-side // max(1, round(tile * (1 - OVERLAP)))))
    return [(first + index * side // count) % side for index in range(count)]


def _rolled(wide: Float[Tensor, "c y x"], sides: Sequence[int]) -> Float[Tensor, "c h w"]:
    """Add what lies beyond a torus's sides to where it belongs."""
    for dim, side in zip((-2, -1), sides, strict=True):
        whole, *beyond = wide.split(side, dim)
        wide = whole.clone()
        for part in beyond:
            wide.narrow(dim, 0, part.shape[dim]).add_(part)
    return wide
