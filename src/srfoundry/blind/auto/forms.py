"""Which form of blur a spectrum speaks for: the likelihood of random kernels of each form, which no photograph taught.

A classifier that learned from few photographs is as sure of what it says about others, and takes their lines and discs
for something else. The spectral likelihood (`degradation.spectral_likelihood`) knows no photographs: kernels of the
right form explain an image's spectrum by hundreds of nats better, as long as no JPEG hides its zeros.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.reductions import antialiasing, sized
from srfoundry.blind.dkp.sampled import LOOK, TILE
from srfoundry.blind.estimate import BlindObservation, busiest_window
from srfoundry.core.seeds import generator
from srfoundry.degradation.settings import SpectrumModel
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood

DRAWS = {"gaussian": 120, "disc": 40, "line": 300, "shake": 120, "blurred, reduced": 60}  # kernels of each form
AT_ONCE = 64
# Tiles of an image err alike, and no kernel of a bank is quite the right one. Chosen on training photographs (14 of
# BSD400, x2): with a classifier of bundled photographs 44 of 56 clean blurs are named rightly (37 by it alone), with
# one of BSD400 46 (46).
TEMPERATURE, TRUST = 10.0, 0.2
# A form whose spectrum has zeros must explain each tile so many nats better than what leaves an image sharp does. Lines
# lead by 220 and more, discs by 80, camera shake by 60 (all but one of 24; 27 photographs at x2 and x4); of the sharp
# images that the classifier takes for one of these, half lead by less than 25.
LEAD, WITH_ZEROS = 50.0, ("disc", "line", "shake")


def supported(evidence: Evidence, observation: BlindObservation, model: SpectrumModel) -> Evidence:
    """The evidence with the chances of blurs weighed anew, by the likelihood of each form; their sum stays.

    Args:
        evidence: of the image.
        observation: the image with its noise; it was no JPEG file.
        model: of photographs' spectra.
    """
    found, least = support(observation, model)
    if max(found[name] for name in WITH_ZEROS) < least:
        found = {name: -math.inf if name in WITH_ZEROS else value for name, value in found.items()}
    chances = evidence.chances.clone()
    places = [histories.NAMES.index(name) for name in found]
    logarithms = chances[places].clamp_min(1e-12).log() + torch.tensor(list(found.values())).to(chances)
    chances[places] = logarithms.softmax(dim=0) * chances[places].sum()
    return dataclasses.replace(evidence, chances=chances)


def support(observation: BlindObservation, model: SpectrumModel) -> tuple[Mapping[str, float], float]:
    """What to add to the log chance of each form: TRUST log mean p(low | kernel)^(1 / TEMPERATURE).

    Args:
        observation: the image with its noise; its busiest part is looked at.
        model: of photographs' spectra, but for its tiles.

    Returns:
        it, and the least that a form of WITH_ZEROS should have.
    """
    low, _ = busiest_window(observation.low.float(), LOOK)
    model = dataclasses.replace(model, tile=TILE, keep=1.0)
    likelihood = SpectralLikelihood(low, observation.scale, model, noise=observation.noise or 0.0, leaks=True)
    kernels, form = _bank(observation.scale)
    with torch.no_grad():
        scores = torch.cat([likelihood(part.to(low)) for part in kernels.split(AT_ONCE)]).cpu() / TEMPERATURE
    parts = [scores[form == index] for index in range(len(DRAWS) + 1)]
    *mean, sharp = [TRUST * float(part.logsumexp(dim=0) - math.log(len(part))) for part in parts]
    lead = LEAD * len(likelihood.power) * TRUST / TEMPERATURE
    return dict(zip(DRAWS, mean, strict=True)), sharp + lead


@lru_cache(maxsize=2)
def _bank(scale: int) -> tuple[Float[Tensor, "n k k"], Int[Tensor, " n"]]:
    """Kernels, and the place of each one's form in DRAWS, last what leaves an image sharp; the same at each call."""
    drawn = [
        histories.draw(count, scale, shares={name: 1.0}, rng=generator(1, "forms", name, scale)).kernel
        for name, count in DRAWS.items()
    ]
    sharp = [torch.ones(1, 1, 1), *(antialiasing(how, scale) for how in histories.REDUCTIONS)]
    drawn.append(torch.cat([sized(kernel, histories.taps(scale)) for kernel in sharp]))
    counts = torch.tensor([len(each) for each in drawn])
    return torch.cat(drawn), torch.arange(len(drawn)).repeat_interleave(counts)
