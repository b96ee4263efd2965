"""How wrong a network's own estimate of blur and noise is, where the batch knows what its images went through."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.dual_regression.batch import Batch, DegradedBatch, reduced_alone
from srfoundry.networks.sr.network import DegradationEstimate

NOISE_WEIGHT = 10.0  # of the noise's error beside the kernel's: 25 levels of 255 are as bad as a nat


def estimate_terms(estimate: DegradationEstimate, batch: Batch, scale: int) -> dict[str, Tensor]:
    """The kernel's and the noise's error, means over the rows of which the truth is known.

    Of a part of a batch: such that the parts' mean, weighted by their shares of its rows, is the batch's.

    Rows whose degradation is no kernel count in the noise alone, images without a photograph in neither. A batch that
    knows of no degradation is of a prepared set: MATLAB's bicubic, no noise but the rounding.

    Args:
        estimate: of all images of the input's size.
        batch: that they are of.
        scale: of the network.

    Returns:
        kernel: Kullback-Leibler divergence of the estimated taps from the true ones, nats.
        noise: mean absolute difference of the deviations, image range [0, 1].
    """
    made = batch if isinstance(batch, DegradedBatch) else reduced_alone(batch, scale)
    count = len(made.kernels)
    logits, noise = estimate.logits[:count].flatten(1), estimate.noise[:count].flatten()
    logs = torch.log_softmax(logits, dim=1)
    truth = fitted(made.kernels.to(logs), math.isqrt(logits.shape[1])).flatten(1)
    known = made.known.to(logs)
    divergence = (torch.xlogy(truth, truth) - truth * logs).sum(dim=1)
    missed = (noise - noise_of(made, scale).to(noise)).abs()
    if made.whole is None:
        return {"kernel": (divergence * known).sum() / known.sum().clamp_min(1), "noise": missed.mean()}
    share = len(made[scale]) / made.whole.rows
    return {
        "kernel": (divergence * known).sum() / (share * max(1, made.whole.known)),
        "noise": missed.sum() / (share * made.whole.pairs),
    }


def fitted(kernels: Float[Tensor, "b k k"], taps: int) -> Float[Tensor, "b t t"]:
    """Kernels as a softmax of this many taps a side around the same middle can be, sum 1.

    Zeros are added or the rim is cut, and MATLAB's bicubic loses its negative lobes.
    """
    missing = (taps - kernels.shape[-1]) // 2
    framed = functional.pad(kernels, (missing,) * 4).clamp_min(0)
    return framed / framed.sum(dim=(1, 2), keepdim=True)


def noise_of(batch: DegradedBatch, scale: int) -> Float[Tensor, " b"]:
    """Root mean square of what is in each pair's input beside its operator: noise, compression, rounding."""
    count, low = len(batch[1]), batch[scale]
    others = batch[1].new_zeros(len(low) - count, *batch[1].shape[1:])  # the operator is of all rows
    with torch.no_grad():
        clean = batch.operator(torch.cat([batch[1], others]))[:count]
        return (low[:count] - clean).square().mean(dim=(1, 2, 3)).sqrt()
