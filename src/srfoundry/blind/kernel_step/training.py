"""The learned step's training: it takes part in the search for kernels, and learns from where it led to (DAgger).

Ross, Gordon and Bagnell (AISTATS 2011): a step that learned from another one's rounds would meet kernels of its own
that it has never seen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.blind.estimate import BlindObservation, busiest_window
from srfoundry.blind.kernel_step.settings import CaseSettings
from srfoundry.blind.motion_deblur.estimation import LOOK, NEAR
from srfoundry.blind.motion_deblur.freeform import CLIMB, RESTORED, FreeFormSettings, Step, find_free_form_kernel
from srfoundry.blind.motion_deblur.learned_step import learned_taps, seen_of
from srfoundry.blind.motion_deblur.taps import Equations
from srfoundry.blind.nonblind_pairs import SHAKEN, SharpPatches, large_photographs, soften
from srfoundry.blind.unfolded.blurs import draw_blurs
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.schedules import cosine
from srfoundry.training.settings import Descent, PatchDraw

TRAINED = replace(RESTORED, noises=(10 / 255,) * 2 + (5 / 255,) * 3, learned=5)  # rounds of the training's searches
SHARES = {"shake": 0.72, "line": 0.12, "disc": 0.04, "gaussian": 0.04, "slight": 0.02, "double": 0.06}  # of the blurs
RIM = 8  # low-resolution pixels around a photograph that are blurred with it, and cut off
NOISY = 0.3  # share of the photographs with noise
PERIOD = 64  # taps a side of the spectra that kernels are compared by
WIDEST = 48.0  # px: longer waves of photographs are as strong as these
WEAKEST = 0.03  # amplitude that a wave keeps, below which its error counts no more
EXACT = 1e-3  # error below which hardly any gain is left
JUDGED = 6  # photographs of a validation, at each scale
DECIBEL = 10 / math.log(10)


class Examples:
    """What the step saw in the rounds so far, and the kernel that it should have returned."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.kernels: list[Tensor] = []

    def add(self, seen: Float[Tensor, "r c k k"], kernel: Float[Tensor, "1 k k"]) -> None:
        """Add a case: all of its rounds."""
        self.seen += seen.cpu().unbind()
        self.kernels += [kernel[0].cpu()] * len(seen)

    def draw(self, count: int, *, rng: torch.Generator) -> tuple[Float[Tensor, "b c k k"], Float[Tensor, "b k k"]]:
        """Some of them, all turned or mirrored in one way."""
        chosen = torch.randint(len(self.seen), (count,), generator=rng).tolist()
        down, across, swapped = (bool(way) for way in torch.randint(2, (3,), generator=rng))
        axes = [axis for axis, flipped in ((-2, down), (-1, across)) if flipped]
        drawn = []
        for every in (self.seen, self.kernels):
            batch = torch.stack([every[index] for index in chosen]).flip(axes)
            drawn.append(batch.transpose(-2, -1) if swapped else batch)
        return drawn[0], drawn[1]

    def state_dict(self) -> dict[str, Any]:
        """All examples."""
        return {"seen": list(self.seen), "kernels": list(self.kernels)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the examples of an earlier run."""
        self.seen, self.kernels = list(state_dict["seen"]), list(state_dict["kernels"])


class CaseDraw:
    """Photographs behind blurs.

    Args:
        patches: the photographs; those that are smaller than a patch are left out.
        settings: of the cases.

    Raises:
        FoundryError: no photograph is large enough.
    """

    def __init__(self, patches: Patches, settings: CaseSettings) -> None:
        self.settings, side = settings, settings.patch
        large = large_photographs(patches, side, stage="kernel_step", setting="kernel_step.patch")
        self.sharp = SharpPatches(large, PatchDraw(patch=side, octave=0.0, batch=1))

    def draw(self, scale: int, *, rng: torch.Generator) -> tuple[BlindObservation, Float[Tensor, "1 k k"]]:
        """One image in 8 bits, and its kernel, centred."""
        kernel = kernels.centred(draw_blurs(1, SHAKEN, scale, shares=SHARES, rng=rng))
        high = self.sharp.draw(rng=rng)
        if self.settings.softness:
            high = soften(high, self.settings.softness, rng=rng)
        low = degrade(high, kernel, scale, border="reflect")
        noisy, level = torch.rand(2, generator=rng).tolist()
        if noisy < NOISY:
            low = low + self.settings.noise * level * torch.randn(low.shape, generator=rng)
        low = images.from_uint8(images.to_uint8(low))[..., RIM:-RIM, RIM:-RIM]
        return BlindObservation(low, Sampling(scale, border="reflect"), known_noise(low)), kernel


def train_kernel_step(
    net: KernelStep,
    draw: CaseDraw,
    descent: Descent,
    *,
    restorer: USRNet,
    scales: Sequence[int],
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Search for one kernel after the other, and learn from all rounds so far (Adam); `net` ends with averaged weights.

    Args:
        net: to train.
        draw: the cases.
        descent: its steps, dealt among the cases.
        restorer: a network that denoises, whose images the taps are fitted to.
        scales: in turns.

    Returns:
        the curve: `total`, and `found`, the error of the cases' last kernels, dB of the blurred image's power.
    """
    optimisation, examples = Optimisation(net, nn.Module(), descent), Examples()
    settings, cases = draw.settings, draw.settings.cases
    updates = max(1, descent.steps // cases)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng("case", index)
        seen, true = draw.draw(scales[index % len(scales)], rng=rng)
        rounds, found = search(net.eval(), restorer, _sent(seen, compute.device), rng=rng)
        examples.add(rounds, true)
        terms: Mapping[str, Tensor] = {}
        net.train()
        for turn in range(updates):
            shown, wanted = (part.to(compute.device) for part in examples.draw(settings.batch, rng=rng))
            loss = error(net(shown), wanted).mean()
            number = index * updates + turn
            rate = cosine(number, cases * updates, descent.learning_rate, warmup=descent.warmup)
            terms = optimisation.update({"total": loss}, rate)
        return {**terms, "found": float(error(found.cpu(), true))}

    state = {**optimisation.state, "examples": examples}
    history = fit(step, steps=cases, state=state, resumption=resumption, title=f"{stream.name} kernel step")
    optimisation.finish()
    return history


def search(
    net: KernelStep, restorer: USRNet, observation: BlindObservation, *, rng: torch.Generator
) -> tuple[Float[Tensor, "r c k k"], Float[Tensor, "1 k k"]]:
    """Look for a kernel with the learned step in every round; what it saw in each, and the kernel.

    Args:
        net: of the step.
        restorer: that denoises.
        observation: the image.
        rng: draws the first guess.
    """
    rounds = list[Tensor]()

    def step(normal: Equations, before: Tensor, scale: int, noise: float) -> Tensor:
        rounds.append(seen_of(normal, kernels.centred(before), scale=scale, noise=noise))
        return net(rounds[-1])

    kernel = _found(observation, TRAINED, restorer, step, rng=rng)
    return torch.cat(rounds).clone(), kernel


def _found(
    observation: BlindObservation,
    settings: FreeFormSettings,
    restorer: USRNet,
    step: Step | None,
    *,
    rng: torch.Generator,
) -> Float[Tensor, "1 k k"]:
    """The search of `estimate_by_edges`."""
    wide, near = (replace(observation, low=busiest_window(observation.low, side)[0]) for side in (LOOK, NEAR))
    kernel = find_free_form_kernel(wide, SHAKEN, CLIMB, rng=rng)
    return find_free_form_kernel(near, SHAKEN, settings, rng=rng, start=kernel, restore=restorer, step=step)


def error(found: Float[Tensor, "b k k"], true: Float[Tensor, "b k k"]) -> Float[Tensor, " b"]:
    """How wrong kernels are, in dB: the error of a photograph behind them, relative to what the true one lets through.

    Each wave's error is that of its amplitude relative to the true one, weighed as photographs have it: 1 / f^2. Both
    are compared about their centres of mass, as restored images are. A wave that only the found kernel holds back is
    amplified in a restoration; this error does not see that, and follows little of what is gained.
    """
    waves = [_spectrum(kernel) for kernel in (found, true)]
    down = torch.fft.fftfreq(PERIOD, device=found.device)[:, None]
    across = torch.fft.rfftfreq(PERIOD, device=found.device)
    weight = 1 / (down.square() + across.square() + WIDEST**-2)
    weight[0, 0] = 0
    missed = (waves[0] - waves[1]).abs().square() / (waves[1].abs().square() + WEAKEST**2)
    return DECIBEL * (2 * (weight * missed).sum(dim=(-2, -1)) / weight.sum() + EXACT).log()


def _spectrum(kernel: Float[Tensor, "b k k"]) -> Tensor:
    """Of kernels about their centres of mass."""
    room = PERIOD - kernel.shape[-1]
    axis = torch.arange(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype)
    centre = [(kernel.sum(dim=other) * axis).sum(dim=-1).view(-1, 1, 1) for other in (-1, -2)]
    down = torch.fft.fftfreq(PERIOD, device=kernel.device)[:, None]
    across = torch.fft.rfftfreq(PERIOD, device=kernel.device)
    turn = 2 * math.pi * (down * centre[0] + across * centre[1])
    return torch.fft.rfft2(functional.pad(kernel, (0, room, 0, room))) * torch.polar(torch.ones_like(turn), turn)


def _sent(observation: BlindObservation, device: torch.device) -> BlindObservation:
    return replace(observation, low=observation.low.to(device))


@torch.inference_mode()
def validate_kernel_step(
    net: KernelStep, draw: CaseDraw, *, restorer: USRNet, compute: Compute, stream: Stream
) -> dict[str, float]:
    """Errors of kernels that were found with the step and without it, in dB, on other photographs.

    Returns:
        xS_learned and xS_plain for each scale S, means.
    """
    found: dict[str, float] = {}
    for scale in net.scales:
        for index in range(JUDGED):
            seen, true = draw.draw(scale, rng=stream.rng("validation", scale, index))
            seen = _sent(seen, compute.device)
            for name, step in (("learned", partial(learned_taps, net)), ("plain", None)):
                kernel = _found(seen, RESTORED, restorer, step, rng=stream.rng("search", scale, index))
                key = f"x{scale}_{name}"
                found[key] = found.get(key, 0.0) + float(error(kernel.cpu(), true)) / JUDGED
    return found
