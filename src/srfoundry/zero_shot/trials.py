"""Every way to restore one test image, by the name that the result tables give it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.imaging import resize
from srfoundry.imaging.tiling import overlap_for, tiled
from srfoundry.networks.zoo.family import FIXED, ZERO_SHOT
from srfoundry.zero_shot import adaptation

Image = Float[Tensor, "1 3 h w"]
# MZSR's step size, for the pretrained net: learned ones belong to the net that they were learned with
FINE_TUNING = 0.01


def trials(
    nets: Mapping[str, nn.Module],
    low: Image,
    kernels: Mapping[str, Float[Tensor, "1 k k"] | None],
    scale: int,
    *,
    recipe: Mapping[str, Any],
    tile: int,
) -> Iterator[tuple[str, Float[Tensor, "1 3 H W"]]]:
    """Yield (name, restored image in [0, 1]) for every method.

    `mzsr10_true` is the meta-trained net after ten steps with the kernel called `true`, `mzsr0_true` the net itself
    told this kernel; `finetune10_true` are ten steps of the pretrained one.

    Args:
        nets: by the stage that made them, on the image's device.
        kernels: what adaptation is told, `true` among them; None stands for MATLAB's bicubic.
        recipe: how the meta-trained net is adapted (adaptation.recipe).
        tile: low-resolution pixels a side that are restored, and adapted on, at once.
    """
    part = low[..., :tile, :tile]  # adaptation holds every feature map at once
    count = len(recipe["rates"])

    def zero_shot(net: nn.Module, kernel: Tensor | None, rates: Sequence[Any]) -> Tensor:
        taken = {**recipe, "rates": rates}
        weights = adaptation.adapt(net, part, kernel, scale, **taken).weights
        return adaptation.restore_tiled(net, low, kernel, scale, weights=weights, tile=tile, device=low.device)

    yield "bicubic", resize.cubic(low, scale).clamp(0, 1)
    for name, net in FIXED.items():
        yield name, zero_shot(nets[net], None, []) if net in ZERO_SHOT else _whole(nets[net], low, scale, tile)
    for name, kernel in kernels.items():
        for steps in dict.fromkeys((0, 1, count)):
            yield f"mzsr{steps}_{name}", zero_shot(nets["metatrain"], kernel, recipe["rates"][:steps])
    yield f"finetune{count}_true", zero_shot(nets["pretrain"], kernels["true"], [FINE_TUNING] * count)


def _whole(net: nn.Module, low: Tensor, scale: int, tile: int) -> Tensor:
    overlap = overlap_for(net, tile)
    with torch.inference_mode():
        return tiled(lambda part: net(part).clamp(0, 1), low, scale, tile=tile, overlap=overlap)
