"""Zero-shot adaptation: a few gradient steps on one image's own reduced copy, and restoring with what they give.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, third phase. The network improves on
images that are enlarged already, as in training (`net.enlargement`, see enlarge.py); losses are mean absolute errors.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.core.compute import autocast
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import linear_enlargement, operator
from srfoundry.imaging import tiling as tiles
from srfoundry.zero_shot import self_pairs as sons_

Weights = dict[str, Tensor]
Rates = Sequence[float] | Sequence[Sequence[float]]

DIVERGED = 2.0  # times the first loss: no useful step ends there
PIXELS = 2**18  # of enlarged sons that go through the network at once: their feature maps take about a gigabyte


@dataclass(frozen=True)
class Adaptation:
    """What adaptation to one image gave."""

    weights: Weights
    losses: list[float]
    """On the son, before each step and after the last; empty when there was no step."""
    held_out: list[float]
    """The same on the part of the image that did not train; empty when there was none."""
    step: int
    """How many steps made the weights that are returned."""
    diverged: bool
    """Whether a loss grew above twice the first or was not finite; the steps end there."""


def adapt(
    net: nn.Module,
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "1 k1 k2"] | None,
    scale: int,
    *,
    rates: Rates,
    weights: Weights | None = None,
    decimation: operator.Decimation = "direct",
    noise: float = 0.0,
    sons: int = 1,
    held_out: float = 0.0,
    rng: torch.Generator | None = None,
    precision: str = "float32",
    progress: tiles.Progress | None = None,
) -> Adaptation:
    """Adapt to one image by plain gradient descent on its own LR sons (MZSR alg. 2, lines 1 to 5).

    An image of one colour teaches nothing: its weights are where they started.

    Args:
        low: an RGB image in [0, 1], or windows of one of equal size (b > 1), which train together.
        kernel: the blur; None means that the image was made by MATLAB's bicubic.
        rates: step size of each step, or of each step and weight tensor in the order of `net.named_parameters()`.
        weights: where to start; the network's own if not given.
        decimation: how the image was reduced after the blur, and how its sons are.
        noise: standard deviation of noise put on the sons (helps on noisy images).
        sons: 1 to scale^2; the further ones are reduced from other starting pixels, the loss is the mean.
        held_out: share of the image, in blocks on a lattice, that does not train and decides which step is returned;
            0 to 0.5. With 0 the last step is, or the best one if a step diverges.
        rng: needed when `noise` is above 0.
        precision: of the convolutions (fit.autocast): bfloat16 moves PSNR by hundredths of a dB either way, and takes
            less than half the time where the hardware has it.
        progress: is called with (steps done, steps in all).

    Raises:
        FoundryError: the image or the kernel is none, does not fit the other, or is too small to have a son that the
            network can learn from; rates, sons or share are out of range.
    """
    steps = _rates(net, rates)
    names = [name for name, _ in net.named_parameters()]
    given = weights or dict(net.named_parameters())
    current = {name: given[name].detach() for name in names}
    sons_.check_image(low)
    if not steps:
        return Adaptation(current, [], [], 0, diverged=False)
    sons_.check(net, low, kernel, scale)
    low = low.to(next(iter(current.values())).dtype)
    target = sons_.phases(low, scale, sons)
    son = operator.son(target, kernel, scale, decimation=decimation, noise=noise, rng=rng)
    enlarged = network_input(net, son, kernel, scale, decimation)
    if bool((target.amax(dim=(-2, -1)) == target.amin(dim=(-2, -1))).all()):
        return Adaptation(current, [], [], 0, diverged=False)
    held = sons_.lattice(target.shape[-2], target.shape[-1], held_out).to(low.device)
    losses, kept, best = [], [], (math.inf, 0, current)
    for step in range(len(steps) + 1):
        last = step == len(steps)
        loss, other, slope = _descent(net, current, enlarged, target, held, precision, slope=not last)
        losses.append(loss)
        kept += [other] if held_out else []
        judge = other if held_out else loss
        if not (math.isfinite(loss) and math.isfinite(judge)) or loss > DIVERGED * losses[0]:
            return Adaptation(best[2], losses, kept, best[1], diverged=True)
        if judge < best[0] or (last and not held_out):
            best = (judge, step, current)
        if not last:
            current = {
                name: value - rate * each
                for (name, value), rate, each in zip(current.items(), steps[step], slope, strict=True)
            }
            if progress is not None:
                progress(step + 1, len(steps))
    return Adaptation(best[2], losses, kept, best[1], diverged=False)


def restore(
    net: nn.Module,
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    weights: Weights | None = None,
    decimation: operator.Decimation = "direct",
) -> Float[Tensor, "1 3 H W"]:
    """Super-resolve with given (adapted) weights or the network's own; clipped to [0, 1].

    Args:
        kernel: the blur, on which the network's input may depend; None means MATLAB's bicubic.
    """
    with torch.no_grad():
        enlarged = network_input(net, low, kernel, scale, decimation)
        restored = net(enlarged) if weights is None else functional_call(net, weights, (enlarged,))
        return restored.clamp(0, 1)


def restore_tiled(
    net: nn.Module,
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    weights: Weights | None = None,
    decimation: operator.Decimation = "direct",
    tile: int,
    device: torch.device,
    progress: tiles.Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """As `restore`, with `tile` low-resolution pixels a side at once on `device`; the result is where `low` is."""
    kernel = None if kernel is None else kernel.to(device)

    def run(piece: Tensor) -> Tensor:
        return restore(net, piece.to(device), kernel, scale, weights=weights, decimation=decimation).to(low.device)

    return tiles.tiled(run, low, scale, tile=tile, overlap=overlap(net, tile), progress=progress)


def overlap(net: nn.Module, tile: int) -> int:
    """Low-resolution pixels that tiles share on each side: twice what the net and the filter before it look."""
    filter_ = linear_enlargement.RADIUS if getattr(net, "enlargement", "bicubic") == "linear" else 0
    return min(2 * (int(getattr(net, "reach", 16)) + filter_), tile // 4)


def recipe(card: Mapping[str, Any], steps: int | None = None, otherwise: Rates = ()) -> dict[str, Any]:
    """How a checkpoint wants to be adapted, as keywords of `adapt`: its card's rates, sons and held_out.

    Args:
        card: the metrics of its card.
        steps: so many of the rates, the last one repeated; None takes all.
        otherwise: the rates of a card without any.
    """
    rates = list(card.get("rates") or otherwise)
    if steps is not None:
        if steps and not rates:
            raise FoundryError("the checkpoint's card names no rates; adapt with 0 steps or meta-train it")
        rates = [*rates, *rates[-1:] * steps][:steps]
    return {"rates": rates, "sons": int(card.get("sons", 1)), "held_out": float(card.get("held_out", 0.0))}


def _errors(net: nn.Module, weights: Weights, enlarged: Tensor, target: Tensor, precision: str) -> Tensor:
    with autocast(enlarged.device, precision):
        restored = functional_call(net, weights, (enlarged,))
    return (restored.float() if restored.dtype == torch.bfloat16 else restored).sub(target).abs()


def network_input(
    net: nn.Module,
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    decimation: operator.Decimation,
) -> Float[Tensor, "b c H W"]:
    """Enlarge as the network was trained on; channels last, a third faster on a CPU."""
    how: Any = getattr(net, "enlargement", "bicubic")
    enlarged = linear_enlargement.enlarge(low, kernel, scale, how=how, decimation=decimation)
    return enlarged.contiguous(memory_format=torch.channels_last)


def _descent(
    net: nn.Module,
    weights: Weights,
    enlarged: Tensor,
    target: Tensor,
    held: Tensor,
    precision: str = "float32",
    *,
    slope: bool,
) -> tuple[float, float, list[Tensor]]:
    """Loss on what trains and on what is held out, and the slope of the first, a few images at a time."""
    leaves = {name: value.detach().requires_grad_(slope) for name, value in weights.items()}
    total = [torch.zeros_like(value) for value in weights.values()]
    trains, judges = ((part / (part.sum().clamp(min=1) * target[:, :, 0, 0].numel())) for part in (~held, held))
    train, other = 0.0, 0.0
    for inputs, wanted in _chunks(enlarged, target):
        with torch.set_grad_enabled(slope):
            error = _errors(net, leaves, inputs, wanted, precision)
            loss = (error * trains).sum()
        if slope:
            for sum_, each in zip(total, torch.autograd.grad(loss, list(leaves.values())), strict=True):
                sum_ += each
        train, other = train + float(loss.detach()), other + float((error.detach() * judges).sum())
    return train, other, total


def _chunks(enlarged: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    most = max(1, PIXELS // (target.shape[-2] * target.shape[-1]))
    yield from zip(enlarged.split(most), target.split(most), strict=True)


def _rates(net: nn.Module, rates: Rates) -> list[list[float]]:
    """Step sizes as steps x weight tensors."""
    count = len(list(net.parameters()))
    steps = [[float(rate)] * count if isinstance(rate, int | float) else [float(one) for one in rate] for rate in rates]
    for index, step in enumerate(steps):
        if len(step) != count or not all(math.isfinite(rate) for rate in step):
            raise FoundryError(
                f"rates of step {index} must be one finite number, or one for each of the network's {count} weight "
                f"tensors, got {len(step)}: {step[:3]}"
            )
    return steps
