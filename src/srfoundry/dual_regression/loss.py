"""The closed loop's loss: a restored image, and what a dual map makes of it, against the truth (DRN).

Images are in [0, 1] here and in 0..255 in the paper (Guo et al., CVPR 2020). All terms are means of absolute
differences, so the paper's loss is 255 times ours and Adam takes the same steps; only the networks' mean shift depends
on the value of white (`DRN(peak=...)`).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import Compute
from srfoundry.dual_regression.batch import Batch, DegradedBatch
from srfoundry.dual_regression.batches import targets
from srfoundry.dual_regression.estimation import NOISE_WEIGHT, estimate_terms
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.sr.network import EstimatingNetwork, sr_network

Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]


def closed_loop(
    images: Sequence[Float[Tensor, "_ 3 _ _"]],
    mapped: Sequence[Float[Tensor, "_ 3 _ _"]],
    wanted: Sequence[Float[Tensor, "_ 3 _ _"]],
    weight: float,
) -> dict[str, Tensor]:
    """The multi-scale closed-loop loss of the released DRN (the paper's eq. 2 at every scale), in float32 or wider.

        L_P = sum_{k=0..P} mean|y_k - t_k|,   L_D = sum_{k=1..P} mean|D_k(y_k) - t_{k-1}|,   L = L_P + weight * L_D

    A net with one image has its last term alone, a dual map straight to the input its first. Rows at the end of t_0
    that the other targets lack are images without a photograph (the paper's unpaired data, section 3.3): of all L_P
    they have 0, and in L_D they have their own y_k, held fixed, for the unknown t_k. So for each image of
    the batch L = 1[paired] L_P + weight * L_D, and L is the mean over them.

    Args:
        images: y_0 .. y_P, smallest first; not detached, so that the dual term trains the primal too.
        mapped: D_1(y_1) .. D_P(y_P); none leaves the dual term out.
        wanted: t_0 .. t_P.
        weight: of the dual term, lambda in the paper.

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
    weights: LossWeights,
    compute: Compute,
    teacher: nn.Module | None = None,
    teacher_weight: float = 0.0,
) -> Loss:
    """The loss as a function of (net, batch), for training, search, selection and fine-tuning alike.

    The nets may run in bfloat16; what `prepare` does and the loss never do.

    Args:
        duals: from the list of the net's images to the list of smaller ones. Where it is a known operator (KernelDual)
            and a batch knows the very operator that made each pair, that one stands in for it.
        scale: of the net.
        weights: of the terms beside the primal one.
        compute: where, and in which precision, the nets run.
        teacher: a net of the same trunk. With one, the loss gains the squared difference of the channel means before
            the last tail (DRC's distillation).
        teacher_weight: of that difference. With 0 the teacher does not run.

    Returns:
        A function to the terms of `closed_loop`, `teacher` if there is one, `kernel` and `noise` if they are estimated.
    """
    weight, of_estimate = weights.dual_weight, weights.estimate_weight

    def loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        net = sr_network(net)
        wanted = [image.to(compute.device) for image in targets(batch, scale)]
        prepared = net.prepare(wanted[0]).contiguous(memory_format=torch.channels_last)
        estimate = net.estimate(prepared) if isinstance(net, EstimatingNetwork) else None
        with compute.autocast(), compute.checkpointed(net):
            if isinstance(net, EstimatingNetwork) and estimate is not None:
                features = net.restore(prepared, estimate)
            else:
                features = net.trunk(prepared)
            images = [net.paint(feature, index) for index, feature in enumerate(features)]
            given = isinstance(duals, KernelDual) and not duals.learn
            known = batch if given and isinstance(batch, DegradedBatch) else None
            mapped = duals(images) if weight and known is None else []
            with torch.no_grad():
                taught = sr_network(teacher).trunk(prepared)[-1] if teacher is not None and teacher_weight else None
        exact = [[_at_least_float(image) for image in group] for group in (images, mapped)]
        terms = closed_loop(exact[0], exact[1], wanted, weight)
        if weight and known is not None:
            terms["dual"] = operator_gap(exact[0][-1], known)
            terms["total"] = terms["total"] + weight * terms["dual"]
        if estimate is not None:
            terms |= estimate_terms(estimate, batch, scale)
            terms["total"] = terms["total"] + of_estimate * (terms["kernel"] + NOISE_WEIGHT * terms["noise"])
        if taught is not None:
            terms["teacher"] = (_channel_mean(features[-1]) - _channel_mean(taught)).square().mean()
            terms["total"] = terms["total"] + teacher_weight * terms["teacher"]
        return terms

    return loss


def operator_gap(image: Float[Tensor, "n 3 H W"], batch: DegradedBatch) -> Tensor:
    """L_D with the operator A that made each pair as the dual map: mean|A(y) - A(x)|, noise and compression left out.

    Rows behind the pairs are images without a photograph: of them A(y) shall be the image itself.

    Args:
        image: y, the restored images.
        batch: with the photographs x and their operators.
    """
    count, low = len(batch[1]), batch[max(batch)].to(image)
    with torch.no_grad():
        due = batch.operator(torch.cat([batch[1].to(image), image[count:]]))
    return (batch.operator(image) - torch.cat([due[:count], low[count:]])).abs().mean()


def _at_least_float(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.bfloat16 else image


def _channel_mean(features: Tensor) -> Tensor:
    return _at_least_float(features).mean(dim=1)
