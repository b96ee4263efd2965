"""How weights move in dual training: Adam under a cosine with restarts, clipped, averaged, deaf to broken batches."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srfoundry.core.state import Stateful
from srfoundry.training.settings import Descent

Update = Callable[[Mapping[str, Tensor], float], dict[str, Tensor | float]]

REMEMBERED = 100  # losses whose mean is what a batch is held against
ENOUGH = 10  # losses before any batch is


class Guard:
    """Which batches to skip: those whose loss is `factor` times the mean of the last ones that were taken, or more.

    DRN's rule (1e6 times, against the epoch before), for batches that damaged photographs or a burst of the loss spoil.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.taken: deque[float] = deque(maxlen=REMEMBERED)

    def skips(self, loss: float) -> bool:
        """Whether to skip the batch with this loss; it is remembered if not."""
        if len(self.taken) >= ENOUGH and not loss < self.factor * sum(self.taken) / len(self.taken):
            return True
        self.taken.append(loss)
        return False

    def state_dict(self) -> dict[str, Any]:
        """The remembered losses."""
        return {"taken": list(self.taken)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up remembered losses."""
        self.taken = deque(state_dict["taken"], maxlen=REMEMBERED)


def descent(
    net: nn.Module,
    duals: nn.Module,
    along: Descent,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    skip: float = 0.0,
    fused: bool = False,
) -> tuple[Update, dict[str, Stateful]]:
    """One step of Adam over both networks as a function of (loss terms, rate), and all the state that it moves.

    Args:
        along: its first rate, the decay of the average, and the largest norm of the gradient.
        skip: a batch is skipped whose loss is this many times the running mean; 0 takes every batch. With it, the
            terms gain `skipped`, 0 or 1; of a skipped batch it is all that is returned.
        fused: Adam in one pass over the weights; rounds differently.

    Returns:
        the update, and by name the nets, their average (`average.module`), the optimiser and the guard.
    """
    smooth = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(along.average))
    weights = [weight for weight in (*net.parameters(), *duals.parameters()) if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=along.learning_rate, betas=betas, fused=fused)
    guard = Guard(skip)

    def update(terms: Mapping[str, Tensor], rate: float) -> dict[str, Tensor | float]:
        for group in optimiser.param_groups:
            group["lr"] = rate
        if skip > 0 and guard.skips(float(terms["total"].detach())):
            return {"skipped": 1.0}  # its loss, perhaps not finite, is no point of the curve
        found: dict[str, Tensor | float] = {name: value.detach() for name, value in terms.items()}
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(weights, along.clip)
        optimiser.step()
        smooth.update_parameters(net)
        return {**found, "skipped": 0.0} if skip > 0 else found

    state: dict[str, Stateful] = {"net": net, "duals": duals, "average": smooth, "optimiser": optimiser}
    return update, {**state, "guard": guard} if skip > 0 else state
