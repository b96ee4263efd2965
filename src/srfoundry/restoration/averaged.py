"""The linear mean over what may have made an image, beside a restoration or in its place."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.blind.decision import Candidates, Decision
from srfoundry.degradation import conventions, linear_enlargement
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import resize
from srfoundry.restoration.restorers.restorer import Restored


def guarded(observation: Observation, decision: Decision, found: Restored | None) -> Restored:
    """What the restorer made, the mean over what may have made the image, or what lies between both.

    What rings is not given out: a mean over kernels takes its place.

    Args:
        observation: the image and its kernel.
        decision: to restore it.
        found: the restorer's; nothing is asked of it where the mean counts alone.
    """
    candidates = decision.candidates
    if candidates is not None and candidates.weight == 1:
        return _averaged(observation, candidates, decision)
    assert found is not None
    if decision.instead is not None:
        plain = resize.cubic_at(observation.low, observation.scale, decision.phase)
        if guard.ringing(found.image, plain.to(found.image)) > guard.RINGING:
            instead = replace(decision.instead, why=", since it rings when restored with the one that was found")
            return _averaged(observation, instead, decision)
    if candidates is None:
        return replace(found, own=found.image)
    milder = _averaged(observation, candidates, decision)
    image = torch.lerp(found.image, milder.image.to(found.image), candidates.weight)
    how = f"{found.how}; {candidates.weight:.0%} of it {milder.how}"
    return replace(found, image=image, how=how, own=found.image)


def mean(low: Float[Tensor, "1 3 h w"], *, candidates: Candidates, scale: int, noise: float) -> Tensor:
    """The linear enlargement of least expected error over what may have made the image: milder than any of theirs."""
    chances = candidates.chances[None].double()
    return linear_enlargement.fitted(low, candidates.kernels, scale, noise=noise, weights=chances)(low)


def _averaged(observation: Observation, candidates: Candidates, decision: Decision) -> Restored:
    """It, with its share of cubic interpolation, and in words."""
    scale = observation.scale
    image = mean(observation.low, candidates=candidates, scale=scale, noise=decision.noise)
    if candidates.plain:
        image = torch.lerp(image, resize.cubic_at(observation.low, scale, _phase(candidates)), candidates.plain)
    several = f", the mean over {len(candidates.kernels)} kernels that it may have been"
    return Restored(image.clamp(0, 1), f"linear{several if len(candidates.kernels) > 1 else ''}{candidates.why}")


def _phase(candidates: Candidates) -> float:
    """High-resolution pixels from a low-resolution pixel's place to the centre of what it saw, in the mean."""
    chances = candidates.chances.double() / candidates.chances.double().sum()
    centres = conventions.centre_of_mass(candidates.kernels.double().cpu()).mean(dim=-1)
    return float(chances.cpu() @ centres) - (candidates.kernels.shape[-1] - 1) / 2
