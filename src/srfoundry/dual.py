"""Dual regression: train P (low -> high) so that a learned D brings its result back (DRN, Guo et al., CVPR 2020).

Images are in [0, 1] here and in 0..255 in the paper. All terms are means of absolute differences, so the paper's loss
is 255 times ours and Adam takes the same steps; only the networks' mean shift knows its white (`DRN(peak=...)`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srfoundry import metrics, resize
from srfoundry.checkpoint import Card, load
from srfoundry.dataset import Patches
from srfoundry.errors import FoundryError
from srfoundry.fit import Log, autocast, cosine, fit
from srfoundry.images import from_uint8, to_uint8
from srfoundry.networks.drn import DRN, DualNets, reductions
from srfoundry.networks.units import channels_last
from srfoundry.parallel import ahead
from srfoundry.seeds import generator

Batch = Mapping[int, Float[Tensor, "b 3 _ _"]]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]


def draw(
    patches: Patches, *, count: int, patch: int, scale: int, octave: float, rng: torch.Generator
) -> dict[int, Tensor]:
    """Aligned patches of which a share of `octave` shows the photographs at half size, as a zoomed-out camera would.

    A few photographs hold few details at full size; at half size they are sharp everywhere. Only the smallest
    reduction has to be made for it (MATLAB's bicubic, 8 bits, as in the prepared set); the others are there. At x3,
    whose set has no half, it is a third.

    Args:
        patch: high-resolution pixels a side; halved photographs are cut twice as large.
    """
    factors = reductions(scale)
    step = factors[1]
    halved = round(count * octave)
    parts = []
    if halved < count:
        full = patches.batch(count - halved, patch, rng=rng)
        parts.append({factor: full[factor] for factor in factors})
    if halved:
        wide = patches.batch(halved, step * patch, rng=rng)
        smaller = resize.cubic_uint8(to_uint8(wide[scale]).permute(0, 3, 1, 2), 1 / step).permute(0, 2, 3, 1)
        parts.append({factor: wide[step * factor] for factor in factors[:-1]} | {scale: from_uint8(smaller)})
    return {factor: torch.cat([part[factor] for part in parts]) for factor in factors}


def targets(batch: Batch, scale: int) -> list[Tensor]:
    """t_0 .. t_P of the loss: the photograph reduced by s, s/2, .., 1, smallest first (t_0 is also the input)."""
    return [batch[factor] for factor in reversed(reductions(scale))]


def closed_loop(
    images: Sequence[Float[Tensor, "b 3 _ _"]],
    mapped: Sequence[Float[Tensor, "b 3 _ _"]],
    wanted: Sequence[Float[Tensor, "b 3 _ _"]],
    weight: float,
) -> dict[str, Tensor]:
    """The multi-scale closed-loop loss of the released DRN (the paper's eq. 2 at every scale), in float32 or wider.

        L_P = sum_{k=0..P} mean|y_k - t_k|,   L_D = sum_{k=1..P} mean|D_k(y_k) - t_{k-1}|,   L = L_P + weight * L_D

    Args:
        images: y_0 .. y_P, smallest first; not detached, so that the dual term trains the primal too.
        mapped: D_1(y_1) .. D_P(y_P).
        wanted: t_0 .. t_P.

    Returns:
        total, primal and dual, scalars in the images' units.
    """
    primal = torch.stack([(image - target).abs().mean() for image, target in zip(images, wanted, strict=True)]).sum()
    dual = torch.stack([(low - target).abs().mean() for low, target in zip(mapped, wanted[:-1], strict=True)]).sum()
    return {"total": primal + weight * dual, "primal": primal, "dual": dual}


def loss_of(
    duals: DualNets,
    *,
    scale: int,
    weight: float,
    device: torch.device,
    precision: str,
    teacher: DRN | None = None,
    teacher_weight: float = 0.0,
) -> Loss:
    """The loss as a function of (net, batch), for training, search, selection and fine-tuning alike.

    The nets may run in bfloat16; the mean shift, the enlargement and the loss never do. With a teacher, the squared
    difference of the channel means before the last tail is added (DRC's distillation), `teacher_weight` times.
    """

    def loss(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        wanted = [image.to(device) for image in targets(batch, scale)]
        assert isinstance(net, DRN)
        prepared = net.prepare(wanted[0]).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            features = net.trunk(prepared)
            images = [net.paint(feature, index) for index, feature in enumerate(features)]
            mapped = duals(images)
            with torch.no_grad():
                taught = None if teacher is None else teacher.trunk(prepared)[-1]
        exact = [[_at_least_float(image) for image in group] for group in (images, mapped)]
        terms = closed_loop(exact[0], exact[1], wanted, weight)
        if taught is not None:
            terms["teacher"] = (_channel_mean(features[-1]) - _channel_mean(taught)).square().mean()
            terms["total"] = terms["total"] + teacher_weight * terms["teacher"]
        return terms

    return loss


def _at_least_float(image: Tensor) -> Tensor:
    return image.float() if image.dtype == torch.bfloat16 else image


def _channel_mean(features: Tensor) -> Tensor:
    return _at_least_float(features).mean(dim=1)


def train(
    net: DRN,
    duals: DualNets,
    loss: Loss,
    patches: Patches,
    *,
    steps: int,
    batch: int,
    patch: int,
    octave: float,
    learning_rate: float,
    warmup: int,
    average: float,
    clip: float,
    seed: int,
    stage: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Train primal and dual together (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        loss: from `loss_of` with these dual nets.
        patch: high-resolution pixels a side, a multiple of the scale.
        octave: share of the patches that show photographs at half size.
        warmup: steps in which the rate climbs linearly.
        average: decay of the exponential average of the weights, a step; 0 keeps the last weights.
        clip: largest norm of the gradient.
        stage: name in the progress bar and in the draws' seeds.
    """
    smooth = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(average))
    weights = [weight for weight in (*net.parameters(), *duals.parameters()) if weight.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99))

    def drawn(index: int) -> dict[int, Tensor]:
        rng = generator(seed, stage, index)
        return draw(patches, count=batch, patch=patch, scale=net.scale, octave=octave, rng=rng)

    batches = ahead(drawn, depth=2 if weights[0].is_cuda else 0)

    def step(index: int) -> dict[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = cosine(index, steps, learning_rate, warmup=warmup)
        terms = loss(net, batches(index))
        optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()
        smooth.update_parameters(net)
        return {name: value.detach() for name, value in terms.items()}

    state = {"net": net, "duals": duals, "average": smooth, "optimiser": optimiser}
    history = fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title=stage)
    if steps:
        net.load_state_dict(smooth.module.state_dict())
    return history


def reopen(primal: Path, duals: Path, device: torch.device) -> tuple[DRN, DualNets, Card]:
    """Load a primal, its dual nets and the primal's card from their files onto a device.

    Raises:
        FoundryError: a file is missing or damaged, or holds another kind of network.
    """
    net, card = load(primal)
    mapping, _ = load(duals)
    for path, found, wanted in ((primal, net, DRN), (duals, mapping, DualNets)):
        if not isinstance(found, wanted):
            raise FoundryError(f"{path} must hold a {wanted.__name__}, got {type(found).__name__}; make it again")
    assert isinstance(net, DRN) and isinstance(mapping, DualNets)
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
