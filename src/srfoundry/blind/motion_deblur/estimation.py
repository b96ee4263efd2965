"""The methods that look for kernels of any form by few edges: on the busiest part of a photograph, with its noise."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.estimate import (
    BlindObservation,
    Estimate,
    Estimator,
    History,
    Promising,
    Resources,
    always,
    busiest_window,
)
from srfoundry.blind.motion_deblur.fewer_edges import towards_fewer_edges
from srfoundry.blind.motion_deblur.freeform import (
    CLIMB,
    QUICK,
    RESTORED,
    STANDARD,
    check,
    find_free_form_kernel,
)
from srfoundry.blind.motion_deblur.learned_step import learned_taps
from srfoundry.blind.motion_deblur.rim import least_side, made_periodic, rims
from srfoundry.blind.motion_deblur.witnesses import residual_with, sparsity_with
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.blind.settings import Estimation
from srfoundry.core.state import Log, silent
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.usrnet import USRNet

# Low-resolution pixels a side that `estimate_by_edges` looks at, at least, and in the network's rounds; and those that
# edges are compared in.
LOOK, NEAR, COMPARED = 192, 128, 112
# Those of the window that a kernel descends on, and the weight of the descent's end beside its beginning: a kernel
# that is good already would lose twice as much by all of it (20 photographs of BSD400 behind camera shake, gain in
# dB: before 2.4, half-way 2.6, the descent's end 2.6). That was measured through USRNet, which takes rounds of its
# own instead now; through data steps alone, where the descent is left, it was not.
CLOSER, DESCENDED = 64, 0.5


def estimate_free_form(
    observation: BlindObservation, settings: Estimation, resources: Resources, *, rng: torch.Generator, log: Log
) -> Estimate:
    """Find a kernel of any form on the busiest window, with the trained restorer in the last rounds.

    Raises:
        FoundryError: the image is too small, or of a single colour.
        Diverged: no kernel is finite.
    """
    assert resources.networks is not None
    look = settings.windows.look
    restorer = resources.networks.restorer
    find = partial(find_free_form_kernel, settings=STANDARD, restore=restorer)
    return _estimated(observation, settings, find, look=look, rng=rng, log=log)


def estimate_by_edges(
    observation: BlindObservation,
    settings: Estimation,
    *,
    net: USRNet | None = None,
    step: KernelStep | None = None,
    promising: Promising = always,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    """The same from one beginning, in seconds; arguments and errors as there.

    At the high resolution even the true kernel's image of few edges has too few of them, and the next kernel is worse.

    Args:
        observation, settings, rng, log: as there.
        net: a non-blind network. If it denoises, its images take the place of those of few edges at the high
            resolution; if it is plain, the kernel that these led to descends through it (`fewer_edges`).
        step: in a denoising network's rounds, a learned step from taps to a kernel.
        promising: is asked of what a network that denoises is to refine, and once more in the midst of that; where it
            says no, that is the result.
    """
    look = max(LOOK, settings.windows.look)
    if net is None or net.plain:
        find = partial(find_free_form_kernel, settings=QUICK)
        found = _estimated(observation, settings, find, look=look, rng=rng, log=log)
        return found if net is None else replace(found, kernel=_descended(observation, found.kernel, net))
    find = partial(find_free_form_kernel, settings=CLIMB)
    begun = _estimated(observation, settings, find, look=look, rng=rng, log=silent)
    if not promising(begun):
        return begun
    learned = None if step is None else partial(learned_taps, step)
    asked = replace(RESTORED, promising=lambda kernel: promising(replace(begun, kernel=kernel)))
    find = partial(find_free_form_kernel, settings=asked, start=begun.kernel, restore=net, step=learned)
    return replace(_estimated(observation, settings, find, look=NEAR, rng=rng, log=log), box=begun.box)


def sparsity_near(observation: BlindObservation, kernel: Float[Tensor, "1 k k"], net: USRNet) -> float:
    """How sparse the edges are that a network finds in an image's busiest part, the less the sparser (`sparsity_with`).

    Args:
        observation: the image, a photograph, with its noise.
        kernel: that it was blurred with, perhaps.
        net: that denoises; it assumes as much noise as in the first round of `estimate_by_edges`.
    """
    return sparsity_with(_near(observation, kernel), kernel, net, noise=RESTORED.noises[0])


def residual_near(observation: BlindObservation, kernel: Float[Tensor, "1 k k"], net: USRNet) -> float:
    """What a network leaves unexplained of an image's busiest part, range [0, 1] (`residual_with`).

    Args:
        observation, kernel, net: as of `sparsity_near`; no more noise than the image's is assumed.
    """
    return residual_with(_near(observation, kernel), kernel, net)


def _near(observation: BlindObservation, kernel: Float[Tensor, "1 k k"]) -> BlindObservation:
    window, _ = busiest_window(observation.low.float(), max(COMPARED, least_side(kernel.shape[-1], observation.scale)))
    return BlindObservation(window, Sampling(observation.scale, border="reflect"), observation.noise)


def _descended(observation: BlindObservation, kernel: Float[Tensor, "1 k k"], net: USRNet) -> Float[Tensor, "1 k k"]:
    """The kernel, half-way to the end of its descent on the image's busiest part."""
    size, scale = kernel.shape[-1], observation.scale
    window, _ = busiest_window(observation.low.float(), max(CLOSER, least_side(size, scale)))
    low, weight = made_periodic(window, *rims(size, scale, STANDARD.rims))
    end = towards_fewer_edges(net, low, kernel, scale, noise=observation.noise or 0.0, weight=weight)
    return torch.lerp(kernel, end, DESCENDED)


def _estimated(
    observation: BlindObservation,
    settings: Estimation,
    find: Callable[..., Float[Tensor, "1 k k"]],
    *,
    look: int,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    low, sampling = observation.low, observation.sampling
    size = max(settings.prior.kernel_size, trained_size(sampling.scale))
    window, box = busiest_window(low, max(look, least_side(size, sampling.scale)))
    whole = sampling.border == "circular" and window.shape == low.shape
    seen = BlindObservation(
        window, Sampling(sampling.scale, border="circular" if whole else "reflect"), observation.noise
    )
    check(seen, size)  # before its noise is looked for, which takes some pixels, too
    if seen.noise is None:
        seen = replace(seen, noise=settings.spectrum.noise or known_noise(low))
    history = History(log)
    kernel = find(seen, size, rng=rng, log=history.add)
    return Estimate(kernel, None, box, history.rows)


FREE = Estimator(
    function=estimate_free_form,
    iterations=lambda settings: len(STANDARD.edges),
    kernel_size=lambda settings, resources, scale: max(settings.prior.kernel_size, trained_size(scale)),
    trained=True,
)
