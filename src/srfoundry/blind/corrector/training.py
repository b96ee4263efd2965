"""Teaching the corrector: photographs restored with kernels that are wrong by a known error, and how they sound."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import nonblind_training
from srfoundry.blind.corrector.correction import MARGIN, try_kernels
from srfoundry.blind.dkp.prior import GaussianPrior
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Log, Resumption, Stateful
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector, mirrored
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.loop import fit
from srfoundry.training.schedules import cosine

NEAREST, FARTHEST = 0.05, 1.2  # deviations of the guessed kernels' shapes from the true ones, log-uniform between them
JITTER = 0.1  # noise on what the corrector hears in training, in its deviations
WEIGHT_DECAY = 1e-2
BATCH = 256  # samples a step of the corrector


class Memory:
    """What the corrector is to learn from: what was heard, and the error that made it sound so."""

    def __init__(self) -> None:
        self.heard: list[Tensor] = []
        self.error: list[Tensor] = []

    def add(self, heard: Float[Tensor, "b n"], error: Float[Tensor, "b 3"]) -> None:
        """Remember a batch."""
        self.heard.append(heard)
        self.error.append(error)

    def all(self) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m 3"]]:
        """Everything, in the order in which it came."""
        return torch.cat(self.heard), torch.cat(self.error)

    def state_dict(self) -> dict[str, Any]:
        """Everything that is remembered."""
        return {"heard": list(self.heard), "error": list(self.error)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was remembered."""
        self.heard, self.error = list(state_dict["heard"]), list(state_dict["error"])


def collect(
    restorer: USRNet,
    patches: Patches,
    *,
    scales: tuple[int, ...],
    samples: int,
    batch: int,
    patch: int,
    octave: float,
    noise: float,
    softness: float,
    variances: tuple[float, float],
    seed: int,
    stage: str,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
) -> Memory:
    """Restore random patches with kernels that are wrong by a known error; keeps what is heard, and the error.

    Args:
        noise: largest standard deviation; half of the patches have none.
        softness: largest variance, px^2, of the blur that some of the photographs have of their own, which is no part
            of the kernel. Without it the corrector takes soft photographs for blurred ones and is sure of it.
        variances: of the true kernels, in multiples of the scale.
    """
    memory, large = Memory(), nonblind_training.roomy(patches, patch)

    def step(index: int) -> Mapping[str, float]:
        rng = generator(seed, stage, "sample", index)
        scale = scales[index % len(scales)]
        size = trained_size(scale)
        prior = GaussianPrior(size, variances[0] * scale, variances[1] * scale)
        wider = GaussianPrior(size, prior.low / MARGIN, prior.high * MARGIN)
        true = prior.sample(batch, rng=rng)
        shown = nonblind_training.pairs(
            patches,
            large,
            scale=scale,
            kernel=prior.kernels(true).float(),
            patch=patch,
            octave=octave,
            noise=noise,
            softness=softness,
            rng=rng,
        )
        ratio = math.log(FARTHEST / NEAREST) * torch.rand(batch, 1, generator=rng, dtype=torch.float64)
        away = NEAREST * ratio.exp() * torch.randn(batch, 3, generator=rng, dtype=torch.float64)
        guess = wider.clip(true + away * away.new_tensor([1.0, 0.6, 1.0]))
        heard = try_kernels(
            restorer,
            shown.low.to(device),
            guess,
            shown.noise.to(device),
            scale,
            wider,
            periodic=True,
            precision=precision,
        )
        memory.add(heard.cpu(), (true - guess).float())
        return {"error": float((true - guess).norm(dim=1).mean())}

    fit(
        step,
        steps=-(-samples // batch),
        state={"memory": memory},
        resumption=Resumption(checkpoint, key),
        title=f"{stage} samples",
    )
    return memory


def train(
    corrector: Corrector,
    memory: "Memory",
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    stage: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Fit the corrector to what was collected: likelihood of the errors, mirror images drawn at random (AdamW).

    The last twentieth of the samples is held out; the mean error there is the curve's `held_out`.
    """
    heard, error = memory.all()
    kept = max(1, len(heard) * 19 // 20)
    with torch.no_grad():
        corrector.centre.copy_(heard[:kept].mean(dim=0))
        corrector.spread.copy_(heard[:kept].std(dim=0) + 1e-3)
    redraw(corrector, generator(seed, stage, "corrector"))
    optimiser = torch.optim.AdamW(corrector.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = generator(seed, stage, "corrector", index)
        chosen = torch.randint(kept, (BATCH,), generator=rng)
        turn = torch.randint(4, (1,), generator=rng).item()
        turned, signs, order = mirrored(heard[chosen], transposed=turn >= 2, flipped=turn % 2 == 1)
        turned = turned + JITTER * corrector.spread * torch.randn(turned.shape, generator=rng)
        for group in optimiser.param_groups:
            group["lr"] = cosine(index, steps, learning_rate, warmup=min(100, steps // 10))
        mean, certainty = corrector(turned)
        loss = _surprise(mean, certainty, error[chosen][:, order] * signs)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            missed = (corrector(heard[kept:])[0] - error[kept:]).abs().mean()
        return {"loss": loss.detach(), "held_out": missed}

    state: dict[str, Stateful] = {"corrector": corrector, "optimiser": optimiser}
    return fit(step, steps=steps, state=state, resumption=Resumption(checkpoint, key, log), title=f"{stage} corrector")


def _surprise(mean: Tensor, certainty: Tensor, error: Tensor) -> Tensor:
    """Negative log likelihood of a Gaussian, up to a constant."""
    return (0.5 * (error - mean).square() * certainty.exp() - 0.5 * certainty).mean()
