"""Training of a small unconditional diffusion model on photographs, and how well it denoises (DDPM, v-prediction)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from srfoundry.blind.diffusion.denoiser import Denoiser, nearest
from srfoundry.blind.diffusion.unet import own_denoiser
from srfoundry.blind.nonblind_pairs import SharpPatches
from srfoundry.core.compute import Compute, sent
from srfoundry.core.process_group import Processes
from srfoundry.core.seeds import Rows, Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent

MIDDLE = 128  # pixels a side of a validation photograph that are judged, at most


def train_denoiser(
    net: nn.Module,
    sharp: SharpPatches,
    descent: Descent,
    *,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train with the mean squared error of v (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        net: of `make_unet`.
        sharp: the patches of a step.
        descent: steps and rates.
    """
    device, count = compute.device, sharp.draws.batch
    parts = compute.parts(count)
    optimisation = Optimisation(net, nn.Module(), descent, processes=compute.processes)
    signal = own_denoiser(net, patch=sharp.draws.patch).signal.to(device)
    if compute.checkpointing:
        net.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]  (of every diffusers model)

    def draw(index: int, part: Processes) -> tuple[Tensor, Tensor, Tensor]:
        rng, rows = stream.rng(index), Rows(count, part.rows(count))
        high = sharp.draw(rng=rng, processes=part)
        # one time from each of `count` equal spans: their mean varies less than that of free draws
        spans = ((torch.rand(count, generator=rng) + torch.arange(count)) / count)[rows.here]
        times = (spans * len(signal)).long().clamp_max(len(signal) - 1)
        noise = rows.randn(*high.shape[1:], rng=rng)
        return sent(high, device), sent(times, device), sent(noise, device)

    batch = fed(lambda index: [draw(index, part) for part in parts], device)

    def loss(high: Tensor, times: Tensor, noise: Tensor) -> dict[str, Tensor]:
        clean, kept = 2 * high - 1, signal[times].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        with compute.autocast():
            predicted = net(noisy, times).sample
        return {"total": (predicted.float() - (kept.sqrt() * noise - (1 - kept).sqrt() * clean)).square().mean()}

    def step(index: int) -> Mapping[str, Tensor | float]:
        terms = ((loss(*drawn), part.share(count)) for drawn, part in zip(batch(index), parts, strict=True))
        rate = restarted(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update_in_parts(terms, rate)

    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=stream.name)
    optimisation.finish()
    return history


def validate_denoiser(
    denoiser: Denoiser, patches: Patches, *, levels: Sequence[float], seed: int, device: torch.device
) -> dict[str, float]:
    """Denoising PSNR in dB, peak 1, at standard deviations of white noise in [0, 1], over a set's photographs.

    For comparison, the noise itself has -20 log10 s dB at deviation s.
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
