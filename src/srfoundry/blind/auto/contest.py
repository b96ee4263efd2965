"""Which form of kernel an image was blurred with, once kernels of several forms are found for it.

The forms are weighed by random kernels, of which few come near the right one and of free form none does, and by a
classifier that knows few photographs: a camera shake is easily taken for a line, a line for a Gaussian. Kernels that
were fitted can be compared. Two witnesses know nothing of each other: the spectrum, which sees no phase and no image,
and how sparse the edges are that a denoising network restores. A family's kernel with which that network cannot explain
the image is wrong, whatever they say.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto.deciding import ROUND
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import DRAWS, Explanations
from srfoundry.blind.auto.histories import FORMS, FREE
from srfoundry.blind.estimate import BlindObservation, Estimate, Promising
from srfoundry.blind.guard import NOISY
from srfoundry.blind.motion_deblur.estimation import residual_near, sparsity_near
from srfoundry.blind.motion_deblur.freeform import RESTORED
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.reductions import sized
from srfoundry.networks.nonblind.usrnet import USRNet

FAMILIES = tuple(name for name in DRAWS if name != FREE)
# A form is looked for, which takes time, the free one most, where it has a chance: its best random kernel explains a
# tile by no more nats than this worse than kernels of the others do, or shakes are as likely as CHANCE. Of 35 images
# behind Gaussians, discs and lines the free form's did by 133 at most; of 72 behind lines, 42 of them under noise of 2
# and 5 of 255, the line's by 2; of 126 behind discs and Gaussians the right one's by 77, but for one by 245.
BEHIND = {"gaussian": 110.0, "disc": 110.0, "line": 20.0, FREE: 150.0}
CHANCE = 0.1
# A family's kernel that explains a tile by more nats than this worse has lost, and edges, which take the restorer's
# time, are not looked at: of 104 images (26 photographs of BSD400, x2, behind a Gaussian, a line, a disc and a shake)
# they were never worth more than 39 to one, and it explained 57 nats more at most than the best random one. So has one
# of free form by more than BEHIND: to these edges are worth up to 211, but none of 501 (99 images) was so far behind by
# the spectrum and ahead by both.
AGAINST = 70.0
# Chance of a shake by the classifier alone from which on a free form is looked for whatever the spectrum says, and its
# rough kernel refined. Of 49 shakes two are known so (0.80 and 0.98: 3.2 in place of -2.0 dB, 0.0 in place of -0.6); of
# 214 other blurs it suspects seven, none of which is lost by that.
SUSPECTED = 0.5
# Nats a tile that edges are worth which are sparser by all of themselves, and by how many a free form must lead. 60
# photographs of BSD400 behind camera shake, x2, published USRNet: of the 19 that were taken for another blur nine lead
# by 57 to 270 nats (their gain from -0.6 to 3.7 dB in the mean), the others by 22 at most; of 51 images behind
# Gaussians, lines, discs and blurs before a reduction the first has 24. That is at the end. It is decided in the midst
# of a denoising network's rounds, since what comes after lowers the lead of right kernels, too: of 23 further shakes
# that were taken for another blur 18 lead by so much after three rounds, 10 after six; of 31 kernels that were refined
# for Gaussians, discs and lines one does, besides those for a photograph of a grating.
SPARSE, LEAD = 500.0, 40.0
# Lead of a rough kernel of free form, and of one after the first round, up to which it is refined no further. Of 29
# photographs, x2, the rough one led by 95 to 322 nats where the refined one won (seven shakes), elsewhere by -260 to
# 110; of eight further shakes by 42 and more. After one round all of 18 shakes that won led by 24 and more, and of 26
# kernels that were refined for other blurs 15 did not lead any more.
ROUGH = 0.0
# Nats a tile by which noise above NOISY lowers a family's lead, for each level of 255, since edges in it are bad
# witnesses, and which a rough free form must lead by more: of twelve photographs behind Gaussians under noise of 5 and
# seven under 8 of 255 discs lead by 18 and 8 at most; of twelve behind discs, under 5, these lead Gaussians that had
# been found by 45, 117, 37 and 21, and one by 14. Under 4 and 5 rough free forms of 42 Gaussians and discs lead by 51
# at most, by more than 20 in eight; those of five shakes that won by 69 and more.
SPOILS = 4.0 * 255
# Noise of the luminance, whose edges are looked at, range [0, 1], up to which forms contend where colours have more, so
# that edges stand out of it; and noise up to which they do where it is grain, the luminance's own. Of 12 photographs
# each (x2, published USRNet) under 5 of 255 in each colour, of which the luminance has 2.9, no Gaussian takes another
# form, discs gain 2.0 in place of 1.2 dB, and camera shakes 0.9 in place of 0.3. Under grain of 2.5 discs lead two
# Gaussians by 57 and 62 nats (-0.15 dB in the mean), under 5 five of six; of thirteen under 2 nothing is lost.
CALM, GRAINY = 3.5 / 255, 2.0 / 255
COLOURED = 0.8  # part of the noise that a luminance has at most if it is no grain; of white noise in each colour 0.58
# Residual, range [0, 1], of a restoration with a family's kernel from which on a kernel of free form is looked for
# whatever else is seen, and the part of it below which that wins by this alone. 123 photographs of BSD400, x2,
# published USRNet, 78 of them behind camera shake or taken for a wrong form: right families leave 0.4 to 1.2 of 255
# (two lines 2.1 and 2.9), 15 wrong ones 1.3 to 30. Of these 13 free forms leave less than half, and gain 1.4 to 20 dB
# over them; the numbers were chosen on the first 35, and any from 1.0 to 1.2 and 0.5 to 0.7 decide alike.
FAR, PART = 1.2 / 255, 0.5


@dataclass(frozen=True)
class Contender:
    """A kernel that was found under a history.

    Attributes:
        history: which.
        found: the kernel.
        look: says how sparse the edges are that a kernel restores, the less the sparser.
        reproduce: says what a restoration with a kernel leaves unexplained of the image, range [0, 1].
    """

    history: str
    found: Estimate
    look: Callable[[Float[Tensor, "1 k k"]], float]
    reproduce: Callable[[Float[Tensor, "1 k k"]], float]

    @cached_property
    def sparsity(self) -> float:
        """Of the edges that the kernel restores."""
        return self.look(self.found.kernel)

    @cached_property
    def residual(self) -> float:
        """Of the restoration."""
        return self.reproduce(self.found.kernel)


@dataclass(frozen=True)
class Contest:
    """Between the forms of one image's blur.

    Attributes:
        observation: the image, with its noise.
        evidence: of it, with the chances that `explanations` supports.
        explanations: of its spectrum.
        net: a non-blind network.
        size: taps a side that hold every kernel, so that rims of equal width are left out.
        suspected: chance of the free form by the classifier alone.
    """

    observation: BlindObservation
    evidence: Evidence
    explanations: Explanations
    net: USRNet
    size: int
    suspected: float = 0.0

    def winner(
        self,
        history: str,
        found: Estimate,
        find: Callable[[str, Promising], Estimate],
        narrow: Callable[[str, Estimate], bool],
    ) -> Contender:
        """The kernel that was found, or one of another form.

        Args:
            history: that it was found under.
            found: the kernel.
            find: finds one under another history; a rough one is refined if that is promising.
            narrow: whether a kernel of a family is a thumbnail's, which cannot take the place of one that is not.
        """
        first = self.enter(history, found)
        for form in FORMS:
            if _alike(form, history) or not self.worth_finding(form, first):
                continue
            if form == FREE:
                first = self._or_free(first, find)
                continue
            second = self.enter(form, find(form, partial(self._promising, form, first)))
            if not narrow(form, second.found) and self.lead(second, first) > 0:
                first = second
        return first

    def _or_free(self, first: Contender, find: Callable[[str, Promising], Estimate]) -> Contender:
        """The first, or one of free form, which is judged in the midst of its refinement if there is one."""
        leads: list[float] = []

        def promising(estimate: Estimate) -> bool:
            decisive = len(leads) == len(RESTORED.proved)
            if self.suspected >= SUSPECTED and not decisive:
                leads.append(math.inf)
                return True
            leads.append(self.lead(self.enter(FREE, estimate), first))
            return leads[-1] > (LEAD if decisive else ROUGH + self._spoilt) or first.residual > FAR

        second = self.enter(FREE, find(FREE, promising))
        lead = leads[-1] if leads else self.lead(second, first)
        won = lead > LEAD and not _explains(first, second)
        return second if won or _explains(second, first) else first

    def enter(self, history: str, found: Estimate) -> Contender:
        """Let a kernel take part."""
        return Contender(history, found, self._sparsity, self._residual)

    def worth_finding(self, form: str, first: Contender) -> bool:
        """Whether a kernel of another form may be the right one.

        Args:
            form: a history.
            first: the kernel that is thought the right one so far.
        """
        free = form == FREE
        if free and (self.suspected >= SUSPECTED or self.evidence.chance(FREE) >= CHANCE):
            return True
        others = self.explanations.best(*(name for name in DRAWS if name != form))
        behind = max(self.explanations.score(first.found.kernel), others) - self.explanations.best(form)
        return behind < BEHIND[form] or (free and first.residual > FAR)

    def lead(self, second: Contender, first: Contender) -> float:
        """By how many nats a tile the second leads the first, which is of a family; -inf: edges need not be looked at.

        Random kernels may explain more than the one that was found, since estimators look at more than the spectrum.
        """
        ahead, free = self._ahead(second, first), second.history == FREE
        if ahead < -(BEHIND[FREE] if free else AGAINST):
            return -math.inf
        spoilt = 0.0 if free else self._spoilt
        return ahead - spoilt + SPARSE * (1 - second.sparsity / first.sparsity)

    @property
    def _spoilt(self) -> float:
        """By how much noise lowers leads."""
        noise = self.observation.noise or 0.0
        return SPOILS * noise if noise > NOISY else 0.0

    def _ahead(self, second: Contender, first: Contender) -> float:
        """The lead by the spectrum."""
        free = second.history == FREE
        random = FAMILIES if free else (first.history,)
        known = max(self.explanations.score(first.found.kernel), self.explanations.best(*random))
        new = self.explanations.score(second.found.kernel)
        return (new if free else max(new, self.explanations.best(second.history))) - known

    def _promising(self, form: str, first: Contender, rough: Estimate) -> bool:
        """Of a family."""
        return self._ahead(self.enter(form, rough), first) >= -AGAINST

    def _sparsity(self, kernel: Float[Tensor, "1 k k"]) -> float:
        return sparsity_near(self.observation, sized(kernel, self.size), self.net)

    def _residual(self, kernel: Float[Tensor, "1 k k"]) -> float:
        return residual_near(self.observation, sized(kernel, self.size), self.net)


def calm(low: Float[Tensor, "1 c h w"], noise: float) -> bool:
    """Whether edges are witnesses: noise leaves them to be seen.

    Args:
        low: the image, range [0, 1].
        noise: of it, standard deviation.
    """
    return noise <= GRAINY or known_noise(low.mean(dim=1, keepdim=True)) <= min(CALM, COLOURED * noise)


def _explains(one: Contender, other: Contender) -> bool:
    """Whether only the one's restoration explains the image."""
    return other.residual > FAR and one.residual < PART * other.residual


def _alike(history: str, other: str) -> bool:
    """Whether kernels under two histories are found in the same way."""
    return history == other or {history, other} <= {*ROUND}
