"""The methods that look for kernels of any form by few edges: on the busiest part of a photograph, with its noise."""

from dataclasses import replace

import torch
from torch import nn

from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Resources, busiest_window
from srfoundry.blind.motion_deblur.fewer_edges import towards_fewer_edges
from srfoundry.blind.motion_deblur.freeform import (
    QUICK,
    STANDARD,
    FreeFormSettings,
    Restore,
    check,
    find_free_form_kernel,
    made_periodic,
    rim_width,
)
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.blind.settings import Estimation
from srfoundry.core.state import Log
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling

# Low-resolution pixels a side of the window that a kernel descends on, and the weight of the descent's end beside its
# beginning: a kernel that is good already would lose twice as much by all of it (ten photographs of BSD400 behind
# camera shake, four not chosen at random, gain in dB: before 1.9, the descent's end 1.8, half-way 2.0).
CLOSER, DESCENDED = 64, 0.5
LOOK = 192  # low-resolution pixels a side that `estimate_by_edges` looks at, at least (`freeform.QUICK`)


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
    return _estimated(observation, settings, STANDARD, resources.networks.restorer, look=look, rng=rng, log=log)


def estimate_by_edges(
    observation: BlindObservation,
    settings: Estimation,
    *,
    net: nn.Module | None = None,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    """The same from one beginning and without the network's rounds, in seconds; arguments and errors as there.

    Those rounds are worth 0.3 dB in the mean of ten training photographs, and as much time again.

    Args:
        observation, settings, rng, log: as there.
        net: a non-blind network, through which the kernel then descends (`fewer_edges`); without it, it does not.
    """
    look = max(LOOK, settings.windows.look)
    found = _estimated(observation, settings, QUICK, None, look=look, rng=rng, log=log)
    if net is None:
        return found
    room = rim_width(found.kernel.shape[-1], observation.scale)
    window, _ = busiest_window(observation.low.float(), max(CLOSER, 3 * room + 1))
    low, weight = made_periodic(window, room)
    descended = towards_fewer_edges(
        net, low, found.kernel, observation.scale, noise=observation.noise or 0.0, weight=weight
    )
    return replace(found, kernel=torch.lerp(found.kernel, descended, DESCENDED))


def _estimated(
    observation: BlindObservation,
    settings: Estimation,
    form: FreeFormSettings,
    restore: Restore | None,
    *,
    look: int,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    low, sampling = observation.low, observation.sampling
    size = max(settings.prior.kernel_size, trained_size(sampling.scale))
    window, box = busiest_window(low, look)
    whole = sampling.border == "circular" and window.shape == low.shape
    seen = BlindObservation(
        window, Sampling(sampling.scale, border="circular" if whole else "reflect"), observation.noise
    )
    check(seen, size)  # before its noise is looked for, which takes some pixels, too
    if seen.noise is None:
        seen = replace(seen, noise=settings.spectrum.noise or known_noise(low))
    history = History(log)
    kernel = find_free_form_kernel(seen, size, form, rng=rng, restore=restore, log=history.add)
    return Estimate(kernel, None, box, history.rows)


FREE = Estimator(
    function=estimate_free_form,
    iterations=lambda settings: len(STANDARD.edges),
    kernel_size=lambda settings, resources, scale: max(settings.prior.kernel_size, trained_size(scale)),
    trained=True,
)
