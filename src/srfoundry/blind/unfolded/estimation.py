"""Kernels of any form by unfolded alternation, for one image: the method `unfolded`."""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Resources, busiest_window
from srfoundry.blind.motion_deblur.freeform import Restore
from srfoundry.blind.settings import Estimation
from srfoundry.blind.unfolded.refinement import best_of
from srfoundry.blind.unfolded.rounds import first_guess, unfolded
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log, silent
from srfoundry.degradation import kernels
from srfoundry.degradation.noise_level import known_noise
from srfoundry.networks.nonblind.unfolded import SIZE, Unfolded

ROUNDS = 3
LOOK = 96  # low-resolution pixels a side that are looked at, at most
LEAST = 24  # low-resolution pixels a side of an image
THIN = 0.01  # taps below this part of the largest are dropped
MIRRORS = ((), (-1,))  # axes along which the image is mirrored, for estimates that are averaged
CANDIDATES = 3  # kernels that the restorer's images judge


def estimate_kernel_by_rounds(
    low: Float[Tensor, "1 c h w"],
    scale: int,
    net: Unfolded,
    *,
    look: int = LOOK,
    restore: Restore | None = None,
    noise: float | None = None,
    log: Log = silent,
) -> Estimate:
    """Estimate the blur kernel of `low` from `low` alone; nothing in it is random.

    Args:
        low: observed image, range [0, 1]; its borders do not count.
        scale: by how much it was reduced.
        net: the trained networks, on any device.
        look: low-resolution pixels a side that are looked at, the busiest.
        restore: a non-blind network for periodic images, which makes the kernel exact (`refinement.best_of`).
        noise: standard deviation of the noise of `low`; estimated if not given.
        log: takes, after each round, how far the kernel moved (half the sum of the taps' changes), and of each
            candidate the sparsity of its image.

    Returns:
        the kernel, centred, the window that was looked at, and the rows; no image.

    Raises:
        FoundryError: the image is too small, of a single colour, or the networks were trained for other scales.
    """
    check(low, scale, net)
    device = next(net.parameters()).device
    window, box = busiest_window(low, look)
    seen = window.float().to(device)
    level = known_noise(window) if noise is None else noise
    history = History(log)
    with torch.inference_mode():
        kernel = learned_kernel(seen, scale, net, noise=level, history=history)
        if restore is not None:
            kernel, rows = best_of(seen, kernel, scale, noise=level, restore=restore)
            for number, row in enumerate(rows, ROUNDS):
                history.add(number, row)
    return Estimate(kernel.float().clone().to(low.device), None, box, history.rows)


def learned_kernel(
    window: Float[Tensor, "1 c h w"], scale: int, net: Unfolded, *, noise: float, history: History
) -> Float[Tensor, "1 k k"]:
    """What the networks find: the mean over mirror images, each as good as the other."""
    grey = window.mean(dim=1, keepdim=True)
    turned = torch.cat([grey.flip(axes) if axes else grey for axes in MIRRORS])
    levels = torch.full((len(turned),), noise, device=turned.device)
    kernel = first_guess(1, scale).to(turned)
    for number, each in enumerate(unfolded(net, turned, levels, scale, rounds=ROUNDS)):
        back = [taps.flip(axes) if axes else taps for taps, axes in zip(each.kernel, MIRRORS, strict=True)]
        found = torch.stack([kernels.centred(taps) for taps in back]).mean(dim=0, keepdim=True)
        history.add(number, {"moved": float((found - kernel).abs().sum() / 2)})
        kernel = found
    return kernels.centred(torch.where(kernel < THIN * kernel.max(), 0.0, kernel))


def check(low: Float[Tensor, "1 c h w"], scale: int, net: Unfolded) -> None:
    """Refuse what no kernel can be found from.

    Raises:
        FoundryError: see `estimate_kernel_by_rounds`.
    """
    if min(low.shape[-2:]) < LEAST:
        got = f"{low.shape[-2]}x{low.shape[-1]}"
        raise FoundryError(f"image of {got} is too small to find taps from; give {LEAST}x{LEAST} pixels or more")
    if scale not in net.scales:
        raise FoundryError(
            f"estimate.method unfolded was trained for x{', x'.join(map(str, net.scales))}, got an image to enlarge by "
            f"{scale}; set unfolded.scales and train it again, or take another method"
        )
    if not float((low - low[..., :1, :1]).abs().max()) > 0:
        raise FoundryError("image of a single colour has no edges to find a kernel from; give another image")


def estimate_unfolded(
    observation: BlindObservation, settings: Estimation, resources: Resources, *, rng: torch.Generator, log: Log
) -> Estimate:
    """The rounds with the values of params.yaml; `rng` is not used.

    Raises:
        FoundryError: the networks are not there, or see `estimate_kernel_by_rounds`.
    """
    networks = resources.networks
    if networks is None or networks.unfolded is None:
        raise FoundryError(
            f"estimate.method unfolded needs models/unfolded.safetensors trained for x{observation.scale}, which is "
            f"not there; put {observation.scale} into unfolded.scales and run 'dvc repro graphs/unfolded/dvc.yaml', or "
            "take fast or free"
        )
    noise = observation.noise
    return estimate_kernel_by_rounds(
        observation.low,
        observation.scale,
        networks.unfolded,
        look=min(LOOK, settings.windows.look),
        restore=networks.restorer,
        noise=(settings.spectrum.noise or None) if noise is None else noise,
        log=log,
    )


UNFOLDED = Estimator(
    function=estimate_unfolded,
    iterations=lambda settings: ROUNDS + CANDIDATES,
    kernel_size=lambda settings, resources, scale: SIZE,
    trained=True,
)
