"""What the corrector learns from: photographs restored with kernels that are wrong by a known error."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.corrector.correction import MARGIN, trial_features, trial_kernels
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.nonblind_pairs import PairDraw, Pairs
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.loop import fit
from srfoundry.training.prefetch import fed

NEAREST, FARTHEST = 0.05, 1.2  # deviations of the guessed kernels' shapes from the true ones, log-uniform between them


class Samples:
    """The corrector's inputs, and the error of the kernel behind each; they stay on the device until they are read."""

    def __init__(self) -> None:
        self.features: list[Tensor] = []
        self.errors: list[Tensor] = []

    def add(self, features: Float[Tensor, "b n"], errors: Float[Tensor, "b 3"]) -> None:
        """Add a batch."""
        self.features.append(features)
        self.errors.append(errors)

    def all(self) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m 3"]]:
        """Features and errors in the order in which they came, on the CPU."""
        return torch.cat(self.features).cpu(), torch.cat(self.errors)

    def state_dict(self) -> dict[str, Any]:
        """All batches."""
        self.features = [each.cpu() for each in self.features]
        return {"features": list(self.features), "errors": list(self.errors)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the batches of an earlier run."""
        self.features, self.errors = list(state_dict["features"]), list(state_dict["errors"])


def collect_samples(
    restorer: USRNet,
    pairs: PairDraw,
    *,
    samples: int,
    scales: Sequence[int],
    variances: tuple[float, float],
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> Samples:
    """Restore random patches with kernels that are wrong by a known error; keep the features, and the error.

    Args:
        pairs: how patches are degraded. Some of the photographs must be soft of their own, or the corrector takes soft
            photographs for blurred ones, and is sure of it.
        samples: how many; rounded up to whole batches.
        scales: in turns.
        variances: of the true kernels, in multiples of the scale.
    """
    found, processes = Samples(), compute.processes
    processes.share(pairs.count)
    own = processes.rows(pairs.count)

    def draw(index: int) -> tuple[Pairs, GaussianPrior, Tensor, Tensor]:
        rng, scale = stream.rng("sample", index), scales[index % len(scales)]
        prior = GaussianPrior(trained_size(scale), variances[0] * scale, variances[1] * scale)
        true = prior.sample(pairs.count, rng=rng)
        shown = pairs.draw(prior.kernels(true).float(), scale, rng=rng, processes=processes)
        guess = prior.widened(MARGIN).clip(true + _errors(pairs.count, rng=rng))
        return shown.sent(compute.device), prior, true, guess

    batch = fed(draw, compute.device)

    def step(index: int) -> Mapping[str, float]:
        shown, prior, true, guess = batch(index)
        kernel = trial_kernels(guess[own], prior).to(compute.device)
        features = trial_features(
            restorer,
            shown.low,
            kernel,
            guess[own],
            shown.noise,
            scale=shown.scale,
            periodic=True,
            precision=compute.precision,
        )
        found.add(processes.gathered(features, pairs.count), (true - guess).float())
        return {"error": float((true - guess).norm(dim=1).mean())}

    title = f"{stream.name} samples"
    fit(step, steps=-(-samples // pairs.count), state={"samples": found}, resumption=resumption, title=title)
    return found


def _errors(count: int, *, rng: torch.Generator) -> Float[Tensor, "b 3"]:
    """Random errors of kernel shapes, from hardly any to those of a first guess."""
    ratio = math.log(FARTHEST / NEAREST) * torch.rand(count, 1, generator=rng, dtype=torch.float64)
    away = NEAREST * ratio.exp() * torch.randn(count, 3, generator=rng, dtype=torch.float64)
    return away * away.new_tensor([1.0, 0.6, 1.0])
