"""Every way to restore one test image, by the name that the result tables give it."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry import adaptation, resize
from srfoundry.restore import overlap_for, tiled

Image = Float[Tensor, "1 3 h w"]
FIXED = {"pretrain": "pretrain", "mzsr0": "metatrain", "dual": "dual", "pruned": "prune"}  # no adaptation: name -> net
ZERO_SHOT = ("pretrain", "metatrain")  # nets that run on an image already enlarged by bicubic


def trials(
    nets: Mapping[str, nn.Module],
    low: Image,
    kernels: Mapping[str, Float[Tensor, "1 k k"] | None],
    scale: int,
    *,
    rates: Sequence[float],
    tile: int,
) -> Iterator[tuple[str, Float[Tensor, "1 3 H W"]]]:
    """Yield (name, restored image in [0, 1]) for every method.

    `mzsr10_true` is the meta-trained net after ten steps with the kernel called `true`; `finetune10_true` the same of
    the pretrained one.

    Args:
        nets: by the stage that made them, on the image's device.
        kernels: what adaptation is told, `true` among them; None stands for MATLAB's bicubic.
        rates: step sizes of the adaptation.
        tile: low-resolution pixels a side that are restored, and adapted on, at once.
    """
    yield "bicubic", resize.cubic(low, scale).clamp(0, 1)
    for name, net in FIXED.items():
        own: adaptation.Weights | None = {**dict(nets[net].named_parameters())} if net in ZERO_SHOT else None
        yield name, _whole(nets[net], own, low, scale, tile)
    part = low[..., :tile, :tile]  # adaptation holds every feature map at once
    steps, meta_net = len(rates), nets["metatrain"]
    for name, kernel in kernels.items():
        weights, _ = adaptation.adapt(meta_net, part, kernel, scale, rates=rates[:1])
        yield f"mzsr1_{name}", _whole(meta_net, weights, low, scale, tile)
        weights, _ = adaptation.adapt(meta_net, part, kernel, scale, rates=rates[1:], weights=weights)
        yield f"mzsr{steps}_{name}", _whole(meta_net, weights, low, scale, tile)
    weights, _ = adaptation.adapt(nets["pretrain"], part, kernels["true"], scale, rates=rates)
    yield f"finetune{steps}_true", _whole(nets["pretrain"], weights, low, scale, tile)


def _whole(net: nn.Module, weights: adaptation.Weights | None, low: Tensor, scale: int, tile: int) -> Tensor:
    def run(part: Tensor) -> Tensor:
        return net(part).clamp(0, 1) if weights is None else adaptation.restore(net, part, scale, weights=weights)

    overlap = overlap_for(net, tile)
    with torch.inference_mode():
        return tiled(run, low, scale, tile=tile, overlap=overlap)
