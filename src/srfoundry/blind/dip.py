"""Deep image prior with a known kernel (Ulyanov et al., CVPR 2018; DKP): a network trained on one image alone."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import stop
from srfoundry.blind.engine import ImageNet, Settings
from srfoundry.blind.losses import ssim_loss
from srfoundry.conventions import Border
from srfoundry.degrade import Decimation, degrade
from srfoundry.restore import Progress

LOOK = 20  # steps between two looks at the stopping rule


def restore(
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"],
    *,
    scale: int,
    settings: Settings,
    steps: int,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    progress: Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Fit the image network to `low`, first by structure (SSIM, two fifths of the steps), then by squared error.

    Args:
        settings: of the image network, its rate and how it stops (`stop`, `patience`); the kernel's are not used.
        steps: at most; 1,000 in DKP.
        progress: hears of (steps done, steps in all).
    """
    low, kernel = low.float(), kernel.to(low.device, torch.float32)
    visible = stop.mask(low, settings.stop, rng)
    seen = 1.0 if visible is None else visible
    structure = True

    def data(blur: Tensor, image: Tensor) -> Tensor:
        made = degrade(image, blur, scale, decimation=decimation, border=border)
        return ssim_loss(made * seen, low * seen) if structure else ((made - low) * seen).square().mean()

    with torch.inference_mode(False), torch.enable_grad():
        net = ImageNet(low, scale, data, dataclasses.replace(settings, capture="none"), rng)
        watch = stop.Watch(settings.stop, settings.patience)
        for done in range(0, steps, LOOK):
            structure = done < 0.4 * steps
            net.improve(kernel, min(LOOK, steps - done))
            if progress is not None:
                progress(min(done + LOOK, steps), steps)
            if settings.stop != "none":
                made = degrade(net.image(), kernel, scale, decimation=decimation, border=border)
                if watch.hear(done, kernel, net.image(), stop.held_error(made, low, visible))[0]:
                    break
    return net.image() if watch.kept is None else watch.kept[1]
