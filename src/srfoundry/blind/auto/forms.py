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
from srfoundry.blind.dkp.sampled import LOOK, TILE
from srfoundry.blind.estimate import BlindObservation, busiest_window
from srfoundry.core.seeds import generator
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.degradation.settings import SpectrumModel
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood

DRAWS = {"gaussian": 120, "disc": 40, "line": 300, "shake": 120, "blurred, reduced": 60}  # kernels of each form
# Log odds of a form: LEARNED times the classifier's, NAT for each nat that its best random kernel explains a tile
# better, and PRIOR; noise hides how photographs differ from the model, so that NAT grows with it, and how far random
# kernels are from the right one, so that PRIOR falls. Tiles and windows of an image err alike, and both are far too
# sure of themselves; the more numbers a form has, the further the best of a few random kernels stays behind the right
# one. Chosen for the gain of what is then done (a line taken for another form costs 4 dB, a shake 1): 50 photographs of
# BSD400, x2, clean, and 36 under noise 5 and 15 of 255, which the classifiers had not learned.
LEARNED, NAT, HIDES = 0.3, 0.025, 1 / 255  # the last: the noise that doubles NAT and halves PRIOR, range [0, 1]
PRIOR = {"gaussian": 0.0, "disc": 3.0, "line": 1.2, "shake": 2.1, "blurred, reduced": 0.9}
FLOOR = 1e-3  # chance of a form by the classifier, at least
# A form whose spectrum has zeros must explain each tile so many nats better than what leaves an image sharp does. Lines
# lead by 220 and more, discs by 80, camera shake by 60 (all but one of 24; 27 photographs at x2 and x4); of the sharp
# images that the classifier takes for one of these, half lead by less than 25.
LEAD = 50.0
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
            scores = likelihood(kernels.to(low)).cpu()
        return cls(likelihood, kernels, form, scores)

    @property
    def tiles(self) -> int:
        """Of the image, whose likelihoods each score sums."""
        return len(self.likelihood.power)

    def supported(self, evidence: Evidence) -> Evidence:
        """The evidence with the chances of blurs weighed anew by each form's best random kernel; their sum stays."""
        found = {name: self.best(name) for name in DRAWS}
        hidden, most = 1 + self.likelihood.noise / HIDES, max(found.values())
        odds = {name: NAT * hidden * (value - most) + PRIOR[name] / hidden for name, value in found.items()}
        if max(found[name] for name in histories.SHAPED) < self.sharp + LEAD:
            odds |= dict.fromkeys(histories.SHAPED, -math.inf)
        chances = evidence.chances.clone()
        places = [histories.NAMES.index(name) for name in odds]
        mass = chances[places].sum()
        learned = (chances[places] / mass.clamp_min(1e-12)).clamp_min(FLOOR).log()
        chances[places] = (LEARNED * learned + torch.tensor(list(odds.values())).to(chances)).softmax(dim=0) * mass
        return dataclasses.replace(evidence, chances=chances)

    def better(self, kernel: Float[Tensor, "1 k k"], form: str) -> Float[Tensor, "1 q q"]:
        """The kernel, or the random one of its form that explains the spectrum better."""
        own = self.scores.masked_fill(self.form != list(DRAWS).index(form), -math.inf)
        best = int(own.argmax())
        return kernel if self._score(kernel) >= float(own[best]) else self.kernels[best, None].to(kernel)

    def shortfall(self, kernel: Float[Tensor, "1 k k"]) -> float:
        """Nats a tile by which a kernel explains the spectrum worse than the best random one does; negative: better."""
        return float(self.scores.max()) / self.tiles - self.score(kernel)

    def best(self, *forms: str) -> float:
        """Nats a tile of the best random kernel of these forms."""
        places = torch.tensor([list(DRAWS).index(name) for name in forms])
        return float(self.scores[torch.isin(self.form, places)].max()) / self.tiles

    @property
    def sharp(self) -> float:
        """Nats a tile of the best kernel that leaves an image sharp."""
        return float(self.scores[self.form == len(DRAWS)].max()) / self.tiles

    def shaken(self, kernel: Float[Tensor, "1 k k"]) -> bool:
        """Whether a kernel of free form leads what leaves an image sharp, where random ones did not."""
        return self.score(kernel) > self.sharp + LEAD

    def score(self, kernel: Float[Tensor, "1 k k"]) -> float:
        """Nats a tile of a kernel."""
        return self._score(kernel) / self.tiles

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
