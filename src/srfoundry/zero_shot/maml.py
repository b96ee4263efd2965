"""MAML's meta-gradient, exact to second order, for all tasks of a meta-batch at once.

Finn et al., "Model-Agnostic Meta-Learning", ICML 2017; objective of Soh et al., "Meta-Transfer Learning for Zero-Shot
Super-Resolution", CVPR 2020, eq. 6 and 7. Losses are mean absolute errors over all elements.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.core.compute import fast_bfloat16, is_gpu
from srfoundry.zero_shot.double_backward import quick
from srfoundry.zero_shot.settings import Order

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Tasks:
    """One meta-batch: enlarged inputs and their high-resolution targets, per task, [0, 1].

    Of several processes each has some of its tasks, `share` says which part of them.
    """

    support: Float[Tensor, "t n 3 q q"]
    support_high: Float[Tensor, "t n 3 q q"]
    query: Float[Tensor, "t m 3 p p"]
    query_high: Float[Tensor, "t m 3 p p"]
    share: float = field(default=1.0, kw_only=True)

    def split(self, size: int) -> "list[Tasks]":
        """Smaller meta-batches of at most `size` tasks."""
        parts = (whole.split(size) for whole in (self.support, self.support_high, self.query, self.query_high))
        return [Tasks(*part) for part in zip(*parts, strict=True)]


def objective(
    net: nn.Module,
    weights: Weights,
    tasks: Tasks,
    *,
    rates: Float[Tensor, "j w"],
    step_weights: Float[Tensor, " j"],
    order: Order = "second",
    precision: str = "float32",
) -> tuple[Float[Tensor, ""], Float[Tensor, "t j"]]:
    """MAML's objective, the mean over the tasks, and each task's query loss after each inner step (detached).

    theta_j = theta_{j-1} - rates_j * grad L_support(theta_{j-1}); J = mean_j w_j L_query(theta_j) (MZSR eq. 6 and 7).
    The mean over the steps is the released program's further 1/N.

    Args:
        weights: theta_0; every one requires a gradient.
        rates: step size of each inner step and each weight tensor; may require a gradient.
        step_weights: w_j, one for each inner step; their number is the number of inner steps.
        order: `second` differentiates through the inner gradients, `first` does not.
        precision: of the convolutions; `auto` is bfloat16 where the device is quick in it.
    """
    device = tasks.support.device
    low = fast_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    twin = quick(net, torch.bfloat16 if low else None)

    def error(adapted: Weights, enlarged: Tensor, high: Tensor) -> Tensor:
        restored = functional_call(twin, adapted, (enlarged,))
        off = (restored.float() if restored.dtype == torch.bfloat16 else restored) - high
        return (off * off.detach().sign()).mean()  # abs(), but it says that the sign is a constant

    each = torch.func.vmap(error)
    adapted = {name: value.expand(len(tasks.support), *value.shape) for name, value in weights.items()}
    losses = []
    for j in range(len(step_weights)):
        inner = each(adapted, tasks.support, tasks.support_high).sum()  # a task's weights meet only its own loss
        slopes = torch.autograd.grad(inner, list(adapted.values()), create_graph=order == "second")
        moved = zip(adapted.items(), rates[j].unbind(), slopes, strict=True)
        adapted = {name: value - rate * slope for (name, value), rate, slope in moved}
        losses.append(each(adapted, tasks.query, tasks.query_high))
    found = torch.stack(losses, dim=1)
    return (found * step_weights.to(found)).mean(), found.detach()


def gradient(
    net: nn.Module,
    tasks: Tasks,
    *,
    rates: Float[Tensor, "j w"],
    step_weights: Float[Tensor, " j"],
    order: Order = "second",
    precision: str = "float32",
    together: int | None = None,
    parts: int = 1,
) -> tuple[Weights, Float[Tensor, "j w"], Float[Tensor, "t j"]]:
    """Gradients of `objective` with respect to the network's weights and to the rates, and the query losses.

    Args:
        together: tasks in one program; all of them on a GPU, and one on a CPU, whose caches hold no more.
        parts: that all of them are computed in, if `together` is not given; on a CPU each task is one.
    """
    count = len(tasks.support)
    together = together or (-(-count // parts) if is_gpu(tasks.support.device) else 1)
    weights: Weights = dict(net.named_parameters())
    rates = rates.detach().requires_grad_()
    wanted = [*weights.values(), rates]
    sums, losses = [torch.zeros_like(value) for value in wanted], []
    for part in tasks.split(together):
        loss, each = objective(
            net, weights, part, rates=rates, step_weights=step_weights, order=order, precision=precision
        )
        slopes = torch.autograd.grad(loss * (len(part.support) / count), wanted)
        sums = [total + slope for total, slope in zip(sums, slopes, strict=True)]
        losses.append(each)
    return dict(zip(weights, sums[:-1], strict=True)), sums[-1], torch.cat(losses)
