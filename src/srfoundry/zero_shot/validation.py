"""How well a zero-shot net restores whole photographs that it has not seen, adapted to each or not."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.degradation import operator
from srfoundry.imaging import images, metrics, resize
from srfoundry.imaging.patches import Patches
from srfoundry.zero_shot.adaptation import Rates, adapt, restore


def validate(
    net: nn.Module,
    patches: Patches,
    scale: int,
    *,
    device: torch.device,
    kernel: Float[Tensor, "1 k k"] | None = None,
    told: Float[Tensor, "1 k k"] | None = None,
    rates: Rates = (),
    decimation: operator.Decimation = "direct",
    sons: int = 1,
    held_out: float = 0.0,
    precision: str = "float32",
) -> dict[str, float]:
    """PSNR-Y in dB on whole photographs after adaptation to each, and its gain over MATLAB's bicubic.

    Args:
        kernel: photographs are degraded with it, to 8 bits; None means the set's own bicubic reduction.
        told: what the network is told instead of `kernel`, as an estimate would be.
        rates: step sizes of the adaptation; none means none.
        decimation: how they are reduced after the blur.
        precision: of the adaptation's convolutions.
    """
    restored, enlarged = 0.0, 0.0
    names = patches.photographs()
    for name in names:
        high = patches.image(name)
        if kernel is None:
            low = patches.image(name, scale)
        else:
            low = operator.degrade(high, kernel, scale, decimation=decimation)
            low = images.from_uint8(images.to_uint8(low))
        low, blur = low.to(device), None if kernel is None else (kernel if told is None else told).to(device)
        found = adapt(
            net,
            low,
            blur,
            scale,
            rates=rates,
            decimation=decimation,
            sons=sons,
            held_out=held_out,
            precision=precision,
        )
        image = restore(net, low, blur, scale, weights=found.weights, decimation=decimation)
        restored += metrics.psnr_y(image.cpu(), high, scale) / len(names)
        enlarged += metrics.psnr_y(resize.cubic(low, scale).cpu(), high, scale) / len(names)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}
