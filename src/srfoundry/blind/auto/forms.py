"""How well random kernels of each form explain an image's spectrum, which no photograph taught.

A classifier that learned from few photographs is as sure of what it says about others, and takes their lines and discs
for something else. The spectral likelihood (`degradation.spectral_likelihood`) knows no photographs: kernels of the
right form explain an image's spectrum by hundreds of nats better, as long as no JPEG hides its zeros. What random
kernels reach is also what an estimated one should reach; one that stays far below was not found in this image.
"""

import dataclasses
import math
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
# Of what the spectrum does not rule out, the mean is taken: at so high a temperature, of so many kernels.
WIDE, COUNTED = 1000.0, 40


@dataclasses.dataclass(frozen=True)
class Explanations:
    """Random kernels, and how well each explains one image's spectrum.

    Attributes:
        likelihood: of that spectrum, which scores any kernel.
        kernels: the same for every image of a scale (`DRAWS`), last what leaves an image sharp.
        form: the place of each one's form in DRAWS; their number for the last ones.
        scores: log likelihood of each.
    """

    likelihood: SpectralLikelihood
    kernels: Float[Tensor, "n k k"]
    form: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]

    @classmethod
    def of(cls, observation: BlindObservation, model: SpectrumModel) -> "Explanations":
        """Score them (tenths of a second).

        Args:
            observation: the image with its noise, no JPEG file; its busiest part is looked at.
            model: of photographs' spectra, but for its tiles.
        """
        low, _ = busiest_window(observation.low.float(), LOOK)
        model = dataclasses.replace(model, tile=TILE, keep=1.0)
        likelihood = SpectralLikelihood(low, observation.scale, model, noise=observation.noise or 0.0, leaks=True)
        kernels, form = _bank(observation.scale)
        with torch.no_grad():
            scores = torch.cat([likelihood(part.to(low)) for part in kernels.split(AT_ONCE)]).cpu()
        return cls(likelihood, kernels, form, scores)

    @property
    def tiles(self) -> int:
        """Of the image, whose likelihoods each score sums."""
        return len(self.likelihood.power)

    def supported(self, evidence: Evidence) -> Evidence:
        """The evidence with the chances of blurs weighed anew, by TRUST log mean p(low | kernel)^(1 / TEMPERATURE) of
        each form; their sum stays.
        """
        parts = [self.scores[self.form == index] / TEMPERATURE for index in range(len(DRAWS) + 1)]
        *mean, sharp = [TRUST * float(part.logsumexp(dim=0) - math.log(len(part))) for part in parts]
        found, least = dict(zip(DRAWS, mean, strict=True)), sharp + LEAD * self.tiles * TRUST / TEMPERATURE
        if max(found[name] for name in WITH_ZEROS) < least:
            found = {name: -math.inf if name in WITH_ZEROS else value for name, value in found.items()}
        chances = evidence.chances.clone()
        places = [histories.NAMES.index(name) for name in found]
        logarithms = chances[places].clamp_min(1e-12).log() + torch.tensor(list(found.values())).to(chances)
        chances[places] = logarithms.softmax(dim=0) * chances[places].sum()
        return dataclasses.replace(evidence, chances=chances)

    def better(self, kernel: Float[Tensor, "1 k k"], form: str) -> Float[Tensor, "1 q q"]:
        """The kernel, or the random one of its form that explains the spectrum better."""
        own = self.scores.masked_fill(self.form != list(DRAWS).index(form), -math.inf)
        best = int(own.argmax())
        return kernel if self._score(kernel) >= float(own[best]) else self.kernels[best, None].to(kernel)

    def shortfall(self, kernel: Float[Tensor, "1 k k"]) -> float:
        """Nats a tile by which a kernel explains the spectrum worse than the best random one does; negative: better."""
        return (float(self.scores.max()) - self._score(kernel)) / self.tiles

    def likely(self) -> tuple[Float[Tensor, "m k k"], Float[Tensor, " m"]]:
        """The random kernels that the spectrum speaks for most, and how likely each is among them."""
        best = self.scores.topk(min(COUNTED, len(self.scores))).indices
        return self.kernels[best], (self.scores[best] / WIDE).softmax(dim=0)

    def _score(self, kernel: Float[Tensor, "1 k k"]) -> float:
        with torch.no_grad():
            return float(self.likelihood(kernel))


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
