"""Deep image prior with a known kernel (Ulyanov et al., CVPR 2018; DKP): a network trained on one image alone."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.image_network import LearnedImage
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.blind.dkp.stop import Monitor, held_out_error, held_out_mask
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.observation import Observation
from srfoundry.imaging.tiling import Progress

LOOK = 20  # steps between two looks at the stopping rule
LARGEST = 512 * 512  # pixels of the result: its network's feature maps, all kept for gradients, fill about 1 GB there


def restore_by_dip(
    observation: Observation,
    settings: Estimation,
    *,
    steps: int,
    rng: torch.Generator,
    progress: Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Fit the image network to an image, first by structure (SSIM, two fifths of the steps), then by squared error.

    Args:
        observation: one image and its kernel.
        settings: of the image network, its rate and how it stops (`stop`, `patience`, in looks of `LOOK` steps); the
            kernel's are not used.
        steps: at most; 1,000 in DKP.
        rng: a CPU generator.
        progress: is called with (steps done, steps in all), last with (all, all).

    Returns:
        the image in [0, 1], where the observed one is.

    Raises:
        FoundryError: the result would have more pixels than `LARGEST`.
    """
    scale, (height, width) = observation.scale, observation.low.shape[-2:]
    if scale**2 * height * width > LARGEST:
        raise FoundryError(
            f"a deep image prior trains on results of {LARGEST} pixels at most (512x512), got {height}x{width} to "
            f"enlarge by {scale}; crop the image, or choose another --model"
        )
    assert observation.kernel is not None
    low, degrade = observation.low.float(), observation.sampling.degrade
    kernel = observation.kernel.to(low.device, torch.float32)
    visible = held_out_mask(low, settings.stopping.stop, rng)
    seen = 1.0 if visible is None else visible
    structure = True

    def data(blur: Tensor, image: Tensor) -> Tensor:
        made = degrade(image, blur)
        return ssim_loss(made * seen, low * seen) if structure else ((made - low) * seen).square().mean()

    with torch.inference_mode(False), torch.enable_grad():
        net = LearnedImage(low, scale, data, dataclasses.replace(settings.image, capture="none"), rng=rng)
        monitor = Monitor(settings.stopping)
        for done in range(0, steps, LOOK):
            structure = done < 0.4 * steps
            net.improve(kernel, min(LOOK, steps - done))
            stopped = False
            if settings.stopping.stop != "none":
                image = net()
                error = held_out_error(degrade(image, kernel), low, visible)
                stopped, _ = monitor.record(done // LOOK, kernel, image, error)
            if progress is not None:
                progress(steps if stopped else min(done + LOOK, steps), steps)
            if stopped:
                break
    return net() if monitor.kept is None else monitor.kept[1]
