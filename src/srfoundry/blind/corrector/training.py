"""Training of the corrector on samples: a regression of kernel errors on features of restored images."""

from collections.abc import Mapping

import torch
from torch import Tensor

from srfoundry.blind.corrector.samples import Samples
from srfoundry.blind.nonblind_settings import CorrectorDescent
from srfoundry.core.seeds import Stream, redraw
from srfoundry.core.state import Resumption, Stateful
from srfoundry.networks.nonblind.corrector import Corrector, mirrored
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import gradients_in_parts
from srfoundry.training.schedules import cosine

JITTER = 0.1  # noise on the features in training, in their deviations
WEIGHT_DECAY = 1e-2
BATCH = 256  # samples a step


def train_corrector(
    corrector: Corrector, samples: Samples, descent: CorrectorDescent, *, stream: Stream, resumption: Resumption
) -> list[dict[str, float]]:
    """Draw the corrector's weights anew and fit it: likelihood of the errors, mirror images drawn at random (AdamW).

    Returns:
        the curve: `loss`, and `held_out`, the mean error on the last twentieth of the samples.
    """
    features, errors = samples.all()
    kept = max(1, len(features) * 19 // 20)
    with torch.no_grad():
        corrector.centre.copy_(features[:kept].mean(dim=0))
        corrector.spread.copy_(features[:kept].std(dim=0) + 1e-3)
    redraw(corrector, stream.rng("corrector"))
    processes, weights = resumption.processes, list(corrector.parameters())
    processes.same_weights(corrector)
    own, share = processes.rows(BATCH), processes.share(BATCH)
    optimiser = torch.optim.AdamW(weights, lr=descent.rate, weight_decay=WEIGHT_DECAY)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng("corrector", index)
        chosen = torch.randint(kept, (BATCH,), generator=rng)
        turn = torch.randint(4, (1,), generator=rng).item()
        turned, signs, order = mirrored(features[chosen], transposed=turn >= 2, flipped=turn % 2 == 1)
        turned = turned + JITTER * corrector.spread * torch.randn(turned.shape, generator=rng)
        for group in optimiser.param_groups:
            group["lr"] = cosine(index, descent.steps, descent.rate, warmup=min(100, descent.steps // 10))
        mean, certainty = corrector(turned[own])
        loss = negative_log_likelihood(mean, certainty, (errors[chosen][:, order] * signs)[own])
        whole = gradients_in_parts(processes, weights, [({"total": loss}, share)])
        optimiser.step()
        with torch.no_grad():
            missed = (corrector(features[kept:])[0] - errors[kept:]).abs().mean()
        return {"loss": whole["total"], "held_out": missed}

    state: dict[str, Stateful] = {"corrector": corrector, "optimiser": optimiser}
    return fit(step, steps=descent.steps, state=state, resumption=resumption, title=f"{stream.name} corrector")


def negative_log_likelihood(mean: Tensor, certainty: Tensor, error: Tensor) -> Tensor:
    """Of errors under Gaussians of these means and log precisions, up to a constant."""
    return (0.5 * (error - mean).square() * certainty.exp() - 0.5 * certainty).mean()
