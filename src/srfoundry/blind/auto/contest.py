"""Which form of kernel an image was blurred with, once kernels of several forms are found for it.

The forms are weighed by random kernels, of which few come near the right one and of free form none does, and by a
classifier that knows few photographs: a camera shake is easily taken for a line, a line for a Gaussian. Kernels that
were fitted can be compared. Two witnesses know nothing of each other: the spectrum, which sees no phase and no image,
and how sparse the edges are that a denoising network restores.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from srfoundry.blind.auto.deciding import ROUND
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import DRAWS, Explanations
from srfoundry.blind.auto.reductions import sized
from srfoundry.blind.estimate import BlindObservation, Estimate
from srfoundry.blind.motion_deblur.estimation import sparsity_near
from srfoundry.networks.nonblind.usrnet import USRNet

FREE = "shake"  # the history whose kernels are of free form
FORMS = ("gaussian", "disc", "line", FREE)
FAMILIES = tuple(name for name in DRAWS if name != FREE)
# A form is looked for, which takes a second, and the free one several, where it has a chance: its best random kernel
# explains a tile by no more nats than BEHIND worse than kernels of the others do, or shakes are as likely as CHANCE.
BEHIND, CHANCE = 150.0, 0.1
# Nats a tile that edges are worth which are sparser by all of themselves, and by how many a free form must lead. 60
# photographs of BSD400 behind camera shake, x2, published USRNet: of the 19 that were taken for another blur nine lead
# by 57 to 270 nats (their gain from -0.6 to 3.7 dB in the mean), the others by 22 at most; of 51 images behind
# Gaussians, lines, discs and blurs before a reduction the first has 24.
SPARSE, LEAD = 500.0, 40.0


class Contender(NamedTuple):
    """A kernel that was found under a history."""

    history: str
    found: Estimate


@dataclass(frozen=True)
class Contest:
    """Between the forms of one image's blur.

    Attributes:
        observation: the image, with its noise.
        evidence: of it, with the chances that `explanations` supports.
        explanations: of its spectrum.
        net: a non-blind network.
        size: taps a side that hold every kernel, so that rims of equal width are left out.
        sparsity: by history, of the edges that a kernel restores, once it is known; the less the sparser.
    """

    observation: BlindObservation
    evidence: Evidence
    explanations: Explanations
    net: USRNet
    size: int
    sparsity: dict[str, float] = field(default_factory=dict)

    def winner(self, history: str, found: Estimate, find: Callable[[str], Estimate]) -> Contender:
        """The kernel that was found, or one of another form.

        Args:
            history: that it was found under.
            found: the kernel.
            find: finds one under another history.
        """
        first = Contender(history, found)
        for form in FORMS:
            if not _alike(form, history) and self.worth_finding(form, first):
                second = Contender(form, find(form))
                first = second if self.won(second, first) else first
        return first

    def worth_finding(self, form: str, first: Contender) -> bool:
        """Whether a kernel of another form may be the right one.

        Args:
            form: a history.
            first: the kernel that is thought the right one so far.
        """
        if form == FREE and self.evidence.chance(FREE) >= CHANCE:
            return True
        others = self.explanations.best(*(name for name in DRAWS if name != form))
        return self.explanations.best(form) - max(self.explanations.score(first.found.kernel), others) > -BEHIND

    def won(self, second: Contender, first: Contender) -> bool:
        """Whether the second takes the place of the first, which is of a family.

        Random kernels may explain more than the one that was found, since estimators look at more than the spectrum.
        """
        free = second.history == FREE
        random = FAMILIES if free else (first.history,)
        known = max(self.explanations.score(first.found.kernel), self.explanations.best(*random))
        new = self.explanations.score(second.found.kernel)
        if not free:
            new = max(new, self.explanations.best(second.history))
        sparser = 1 - self._sparsity(second) / self._sparsity(first)
        return new - known + SPARSE * sparser > (LEAD if free else 0.0)

    def _sparsity(self, contender: Contender) -> float:
        history = contender.history
        if history not in self.sparsity:
            kernel = sized(contender.found.kernel, self.size)
            self.sparsity[history] = sparsity_near(self.observation, kernel, self.net)
        return self.sparsity[history]


def _alike(history: str, other: str) -> bool:
    """Whether kernels under two histories are found in the same way."""
    return history == other or {history, other} <= {*ROUND}
