"""Gradient accumulation: a batch in parts moves the weights as the whole does, to rounding."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import loss_of
from srfoundry.networks.sr.conditioned import Conditioned
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.duals import DualNets
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import loss_weights, photographs, ranges

CPU = torch.device("cpu")
DESCENT = Descent(steps=1, learning_rate=1e-3, warmup=0, average=0.9, clip=1e9)
CASES = {
    "drn": (lambda: DRN(scale=2, blocks=1, width=4), lambda: DualNets(scale=2, width=4), "bicubic"),
    "conditioned, under damage": (
        lambda: Conditioned(scale=2, blocks=1, width=4, taps=7),
        lambda: KernelDual(scale=2, size=1, decimation="bicubic"),
        "photographs",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_have_the_gradient_of_the_whole(tmp_path: Path, name: str, parts: int) -> None:
    make, dual, model = CASES[name]
    batches = Batches(
        patches=photographs(tmp_path),
        draws=PatchDraw(patch=16, octave=0.4, batch=5),
        scale=2,
        stream=Stream(1, "accumulation"),
        degradation=ranges(model),
    )
    found = [_step(make(), dual(), replace(batches, accumulate=count)) for count in (1, parts)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def _step(net: nn.Module, duals: nn.Module, batches: Batches) -> list[torch.Tensor]:
    """Gradients and loss terms of the first batch."""
    redraw(net, generator(1, "net"))
    redraw(duals, generator(1, "duals"))
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    optimisation = Optimisation(net, duals, DESCENT)
    terms = optimisation.update_in_parts(((loss(net, part(0)), part.share) for part in batches.parts), 1e-3)
    assert sum(part.share for part in batches.parts) == pytest.approx(1)
    gradients = [weight.grad.clone() for weight in optimisation.weights if weight.grad is not None]
    return [*gradients, *(torch.as_tensor(terms[key]) for key in sorted(terms))]


def test_more_parts_than_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="got 2 for 3 parts; raise the batch, or lower distributed.accumulate"):
        Batches(
            patches=photographs(tmp_path),
            draws=PatchDraw(patch=16, octave=0.0, batch=2),
            scale=2,
            stream=Stream(1, "accumulation"),
            accumulate=3,
        )
