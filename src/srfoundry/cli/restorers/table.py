"""Whatever restores an image once its kernel is known, behind one call: a trained network, an untrained one, a prior.

  FILE.safetensors  USRNet, which takes any kernel and noise
  FOLDER            an unconditional diffusion model (a `diffusers` U-Net with its scheduler)
  dip               a network that is trained on the image alone

MZSR's network adapts, and so has ways of its own (zeroshot.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.nonblind_restoration import restore_by_usrnet
from srfoundry.config.params import Params
from srfoundry.core import seeds
from srfoundry.core.compute import channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import operator
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging.tiling import Progress
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.networks.zoo import cards

DIP = "dip"
STEPS = 1000  # of dip (DKP)

Run = Callable[[Float[Tensor, "1 3 h w"], Float[Tensor, "1 k k"], float, Progress | None], Float[Tensor, "1 3 H W"]]


@dataclass(frozen=True)
class Restorer:
    """`run(low, kernel, noise, progress)` gives an image in [0, 1] on the CPU, enlarged by `scale`.

    hears_noise: whether the standard deviation of the noise makes a difference.
    """

    title: str
    scale: int
    run: Run
    hears_noise: bool


def load(
    model: Path, chosen: Params, *, scale: int | None, decimation: operator.Decimation, device: torch.device, name: str
) -> Restorer:
    """Make a restorer ready.

    Args:
        chosen: params.yaml; its sections estimate and diffuse hold the values of `dip` and of diffusion.
        scale: of the enlargement; that of the network's training, or shared.scale, if not given.
        name: of the image; seeds what is random, so that results do not depend on how the model's path is spelt.

    Raises:
        FoundryError: the model is missing, damaged, of a kind that restores no known blur, or of other scales.
    """
    wanted = scale or chosen.shared.scale
    if str(model) == DIP:
        rng = seeds.generator(chosen.shared.seed, "restore", DIP, name)
        return Restorer("deep image prior", wanted, _dip(chosen, wanted, decimation, device, rng), hears_noise=False)
    if decimation != "direct":
        raise FoundryError(
            f"{model} undoes direct decimation only, got {decimation}; take --model dip or MZSR's network"
        )
    if model.is_dir():
        rng = seeds.generator(chosen.shared.seed, "restore", "diffusion", name)
        run = _diffusion(model, chosen, wanted, device, rng)
        return Restorer(f"diffusion prior {model.resolve().name}", wanted, run, hears_noise=True)
    net, card = cards.load(model)
    if not isinstance(net, USRNet):
        raise FoundryError(
            f"restore takes a network that adapts (mzsr) or is told the blur (usrnet), a folder with a diffusion model "
            f"or the word dip, got {card.arch['name']} in {model}"
        )
    scales = card.metrics.get("scales", [card.scale])
    wanted = scale or card.scale
    if wanted not in scales:
        trained = ", ".join(f"x{one}" for one in scales)
        raise FoundryError(
            f"{model} was trained for {trained}, got scale {wanted}; choose one of these, or --model dip"
        )
    return Restorer("USRNet", wanted, _usrnet(net, wanted, device), hears_noise=True)


def _usrnet(net: USRNet, scale: int, device: torch.device) -> Run:
    net = channels_last(net, device)

    def run(low: Tensor, kernel: Tensor, noise: float, progress: Progress | None) -> Tensor:
        return restore_by_usrnet(net, Observation(low, kernel, Sampling(scale), noise), progress=progress)

    return run


def _dip(
    chosen: Params, scale: int, decimation: operator.Decimation, device: torch.device, rng: torch.Generator
) -> Run:
    from srfoundry.blind import dip

    settings = chosen.estimate.settings

    def run(low: Tensor, kernel: Tensor, noise: float, progress: Progress | None) -> Tensor:
        observation = Observation(low.to(device), kernel.to(device), Sampling(scale, decimation))
        return dip.restore_by_dip(observation, settings, steps=STEPS, rng=rng, progress=progress).cpu()

    return run


def _diffusion(folder: Path, chosen: Params, scale: int, device: torch.device, rng: torch.Generator) -> Run:
    from srfoundry.blind.diffusion.diffpir import restore_by_diffpir
    from srfoundry.blind.diffusion.unet import load_denoiser

    denoiser, sampler = load_denoiser(folder, device=device), chosen.diffuse.sampler

    def run(low: Tensor, kernel: Tensor, noise: float, progress: Progress | None) -> Tensor:
        observation = Observation(low.to(device), kernel, Sampling(scale), noise)
        restored = restore_by_diffpir(observation, sampler, denoiser, rng=rng, progress=progress)
        return restored.clamp(0, 1).cpu()

    return run
