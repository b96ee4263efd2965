"""Dual regression: train P (low -> high) so that a learned D brings its result back (DRN, Guo et al., CVPR 2020).

Images are in [0, 1] here and in 0..255 in the paper. All terms are means of absolute differences, so the paper's loss
is 255 times ours and Adam takes the same steps; only the networks' mean shift knows its white (`DRN(peak=...)`).
P is any Restorer, D any module from the list of its images to the list of smaller ones (networks/duals.py,
networks/kernel_dual.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from srfoundry.core.compute import autocast
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batch, draw, targets, through, windows
from srfoundry.imaging import metrics, resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.duals import DualNets, StraightDual
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.sr.restorer import Restorer
from srfoundry.networks.sr.swinir import SwinIR
from srfoundry.networks.sr.units import channels_last
from srfoundry.networks.zoo.cards import Card, load
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import descent
from srfoundry.training.prefetch import ahead
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent, PatchDraw

Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
PRIMALS, DUALS = (DRN, EDSR, SwinIR), (DualNets, StraightDual, KernelDual)


def closed_loop(
    images: Sequence[Float[Tensor, "_ 3 _ _"]],
    mapped: Sequence[Float[Tensor, "_ 3 _ _"]],
    wanted: Sequence[Float[Tensor, "_ 3 _ _"]],
    weight: float,
) -> dict[str, Tensor]:
    """The multi-scale closed-loop loss of the released DRN (the paper's eq. 2 at every scale), in float32 or wider.

        L_P = sum_{k=0..P} mean|y_k - t_k|,   L_D = sum_{k=1..P} mean|D_k(y_k) - t_{k-1}|,   L = L_P + weight * L_D

    A net with one image has its last term alone, a dual straight to the input its first. Rows at the end of t_0 that
    the other targets lack are images without a photograph (the paper's unpaired data, section 3.3): of all L_P they
    have 0, and in L_D they have their own y_k, held fixed, for the t_k that nobody knows. So for each image of the
    batch L = 1[paired] L_P + weight * L_D, and L is the mean over them.

    Args:
        images: y_0 .. y_P, smallest first; not detached, so that the dual term trains the primal too.
        mapped: D_1(y_1) .. D_P(y_P); none leaves the dual term out.
        wanted: t_0 .. t_P.

    Returns:
        total, primal and dual, scalars in the images' units.
    """
    first, pairs = len(wanted) - len(images), len(wanted[-1])
    gaps = [_gap(image, target[:pairs]) for image, target in zip(images, wanted[first:], strict=True)]
    primal = torch.stack(gaps).sum()
    if not mapped:
        return {"total": primal, "primal": primal, "dual": torch.zeros_like(primal)}
    due = [
        target if len(target) == len(low) else torch.cat([target, images[k - first][len(target) :].detach()])
        for k, (low, target) in enumerate(zip(mapped, wanted, strict=False))
    ]
    dual = torch.stack([_gap(low, target) for low, target in zip(mapped, due, strict=True)]).sum()
    return {"total": primal + weight * dual, "primal": primal, "dual": dual}


def _gap(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, where the image's rows without a target count as 0."""
    rows = len(target)
    if rows == len(image):
        return (image - target).abs().mean()
    return (image[:rows] - target).abs().sum() / image.numel()


def loss_of(
    duals: nn.Module,
    *,
    scale: int,
    weight: float,
    device: torch.device,
    precision: str,
    teacher: nn.Module | None = None,
    teacher_weight: float = 0.0,
) -> Loss:
    """The loss as a function of (net, batch), for training, search, selection and fine-tuning alike.

    The nets may run in bfloat16; what `prepare` does and the loss never do. With a teacher, the squared
    difference of the channel means before the last tail is added (DRC's distillation), `teacher_weight` times. With
    weight 0 the dual nets do not run: it is plain multi-scale training, to the bit.
    """

    def loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        wanted = [image.to(device) for image in targets(batch, scale)]
        assert isinstance(net, Restorer)
        prepared = net.prepare(wanted[0]).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            features = net.trunk(prepared)
            images = [net.paint(feature, index) for index, feature in enumerate(features)]
            mapped = duals(images) if weight else []
            with torch.no_grad():
                taught = None if teacher is None else _trunk(teacher, prepared)[-1]
        exact = [[_at_least_float(image) for image in group] for group in (images, mapped)]
        terms = closed_loop(exact[0], exact[1], wanted, weight)
        if taught is not None:
            terms["teacher"] = (_channel_mean(features[-1]) - _channel_mean(taught)).square().mean()
            terms["total"] = terms["total"] + teacher_weight * terms["teacher"]
        return terms

    return loss


def _trunk(net: nn.Module, prepared: Tensor) -> list[Tensor]:
    assert isinstance(net, Restorer)
    return net.trunk(prepared)


def _at_least_float(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.bfloat16 else image


def _channel_mean(features: Tensor) -> Tensor:
    return _at_least_float(features).mean(dim=1)


def train(
    net: nn.Module,
    duals: nn.Module,
    loss: Loss,
    patches: Patches,
    how: PatchDraw,
    along: Descent,
    *,
    stream: Stream,
    resumption: Resumption,
    restarts: int = 1,
    skip: float = 0.0,
    unpaired: Sequence[Float[Tensor, "1 3 _ _"]] = (),
    unpaired_share: float = 0.0,
    blur: KernelDual | None = None,
    fused: bool = False,
) -> list[dict[str, float]]:
    """Train primal and dual together (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        loss: from `loss_of` with these dual nets.
        how: the patches of a step.
        along: rates and steps.
        stream: of the draws; its name is the progress bar's, too.
        skip, fused: as in `descent`.
        restarts: cosines one after the other.
        unpaired: low-resolution images, patch / scale pixels a side or more, that only the dual term sees.
        unpaired_share: of each batch, rounded to whole images; at least one pair stays.
        blur: how the pairs' low-resolution images are made; MATLAB's bicubic if not given.
    """
    assert isinstance(net, Restorer)
    scale = net.scale
    lone = min(round(how.batch * unpaired_share), how.batch - 1) if unpaired else 0
    paired = replace(how, batch=how.batch - lone)
    update, state = descent(net, duals, along, skip=skip, fused=fused)

    def drawn(index: int) -> dict[int, Tensor]:
        found = draw(patches, paired, scale=scale, rng=stream.rng(index))
        if blur is not None:
            found = through(blur, found, scale)
        if lone:
            rng = stream.rng("unpaired", index)
            found[scale] = torch.cat([found[scale], windows(unpaired, count=lone, size=how.patch // scale, rng=rng)])
        return found

    # where a thread draws ahead, a kernel that is learned would be read while it moves
    on_gpu = next(net.parameters()).is_cuda
    batches = ahead(drawn, depth=2 if on_gpu and blur is None else 0)

    def step(index: int) -> dict[str, Tensor | float]:
        rate = restarted(index, along.steps, along.learning_rate, warmup=along.warmup, restarts=restarts)
        return update(loss(net, batches(index)), rate)

    history = fit(step, steps=along.steps, state=state, resumption=resumption, title=stream.name)
    if along.steps:
        smooth = state["average"]
        assert isinstance(smooth, AveragedModel)
        net.load_state_dict(smooth.module.state_dict())
    return history


def acquaint(
    duals: nn.Module, batches: Callable[[int], Batch], *, scale: int, steps: int, learning_rate: float
) -> float:
    """Teach dual nets the way down on photographs before there is anything restored (Adam, cosine); the last loss.

    With batches from `pairs.through` they start at an estimated kernel, and stay free to leave it.
    """
    loss = 0.0
    optimiser = torch.optim.Adam(duals.parameters(), lr=learning_rate)
    for index in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = restarted(index, steps, learning_rate)
        device = next(duals.parameters()).device
        sharp = [image.to(device) for image in targets(batches(index), scale)]
        total = closed_loop(sharp, duals(sharp), sharp, 1.0)["total"]
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        loss = float(total.detach())
    return loss


def reopen(primal: Path, duals: Path, device: torch.device) -> tuple[DRN | EDSR | SwinIR, nn.Module, Card]:
    """Load a primal, its dual nets and the primal's card from their files onto a device.

    Raises:
        FoundryError: a file is missing or damaged, or holds another kind of network.
    """
    net, card = load(primal)
    mapping, _ = load(duals)
    for path, found, kinds in ((primal, net, PRIMALS), (duals, mapping, DUALS)):
        if not isinstance(found, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise FoundryError(f"{path} must hold a {names}, got {type(found).__name__}; make it again")
    assert isinstance(net, PRIMALS)
    return channels_last(net, device), mapping.to(device), card


def validate(net: nn.Module, patches: Patches, *, scale: int, device: torch.device) -> dict[str, float]:
    """PSNR-Y in dB on the whole photographs of a set, and its gain over MATLAB's bicubic; `scale` pixels cropped."""
    restored, enlarged = 0.0, 0.0
    names = patches.photographs()
    with torch.inference_mode():
        for name in names:
            high, low = patches.image(name), patches.image(name, scale)
            restored += metrics.psnr_y(net(low.to(device)).cpu(), high, scale) / len(names)
            enlarged += metrics.psnr_y(resize.cubic(low, scale), high, scale) / len(names)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}
