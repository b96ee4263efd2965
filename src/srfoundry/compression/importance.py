"""How much comes through each channel that may go: a weight matters as much as what it is multiplied by.

DRC ranks channels by their weights alone. A channel whose features are small has large ones for them, or the other way
round: a ReLU between two convolutions does not mind where the scale is.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.process_group import ALONE, Processes
from srfoundry.networks.sr.prunable import Unit, end_of

Batch = TypeVar("Batch")


def activities(
    net: nn.Module,
    units: Sequence[Unit],
    run: Callable[[nn.Module, Batch], object],
    batches: Iterable[Batch],
    *,
    processes: Processes = ALONE,
    parts: Sequence[float] = (1.0,),
) -> list[Float[Tensor, " width"]]:
    """Root mean square of each channel of each unit, as its consumer reads it, over batches of equal size.

    Args:
        run: passes a batch through the net.
        batches: these; of each its parts after each other.
        processes: that have rows of each batch.
        parts: of a batch's rows that each of its parts here has.

    Raises:
        ValueError: a unit's consumer was never passed.
    """
    sums: dict[str, Tensor] = {}

    def note(unit: Unit) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            power = inputs[0].float().square()
            axis = 1 if isinstance(module, nn.Conv2d) else power.ndim - 1
            power = power.mean(dim=[each for each in range(power.ndim) if each != axis]) * parts[count % len(parts)]
            sums[unit.name] = sums.get(unit.name, 0) + power.reshape(unit.spans, -1).mean(dim=0)

        return hook

    count = 0
    with ExitStack() as stack, torch.no_grad():
        for unit in units:
            stack.callback(end_of(net, unit.consumer).register_forward_pre_hook(note(unit)).remove)
        for batch in batches:
            run(net, batch)
            count += 1
    if missing := [unit.name for unit in units if unit.name not in sums]:
        raise ValueError(f"nothing came through {', '.join(missing)} in {count} batches; let `run` pass every unit")
    means = [sums[unit.name] / (count / len(parts)) for unit in units]
    processes.add_up(means)
    return [mean.sqrt() for mean in means]
