"""A kernel of free form against one of a family: which of the two an image was blurred with, once both are found.

The forms are weighed by random kernels, of which none of free form comes near the right one, and by a classifier that
knows few photographs: most camera shakes are taken for something else. Kernels that were fitted can be compared. Two
witnesses know nothing of each other: the spectrum, which sees no phase and no image, and how sparse the edges are that
a denoising network restores.
"""

from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import Explanations
from srfoundry.blind.auto.reductions import sized
from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.motion_deblur.estimation import sparsity_near
from srfoundry.networks.nonblind.usrnet import USRNet

# A free form is looked for, which takes seconds, where it has a chance: the best random shake explains a tile by no
# more nats than BEHIND worse than kernels of a family do, or shakes are as likely as CHANCE.
BEHIND, CHANCE = 150.0, 0.1
# Nats a tile that edges are worth which are sparser by all of themselves, and by how many a free form must lead. 60
# photographs of BSD400 behind camera shake, x2, published USRNet: of the 19 that were taken for another blur nine lead
# by 57 to 270 nats (their gain from -0.6 to 3.7 dB in the mean), the others by 22 at most; of 51 images behind
# Gaussians, lines, discs and blurs before a reduction the first has 24.
SPARSE, LEAD = 500.0, 40.0


def worth_it(evidence: Evidence, explanations: Explanations, kernel: Float[Tensor, "1 k k"]) -> bool:
    """Whether a kernel of a family is to be compared with one of free form.

    Args:
        evidence: of the image, with the chances that `explanations` supports.
        explanations: of its spectrum.
        kernel: of the family.
    """
    return evidence.chance("shake") >= CHANCE or explanations.freer(kernel) > -BEHIND


def freer(
    observation: BlindObservation,
    explanations: Explanations,
    free: Float[Tensor, "1 k k"],
    kernel: Float[Tensor, "1 q q"],
    net: USRNet,
) -> bool:
    """Whether the kernel of free form is the right one.

    Args:
        observation: the image, with its noise.
        explanations: of its spectrum.
        free: the kernel of free form.
        kernel: the one of a family.
        net: a non-blind network that denoises.
    """
    size = max(free.shape[-1], kernel.shape[-1])  # equal rims are left out
    found, other = (sparsity_near(observation, sized(each, size), net) for each in (free, kernel))
    return explanations.freer(kernel, free) + SPARSE * (1 - found / other) > LEAD
