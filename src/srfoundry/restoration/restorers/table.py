"""The kinds of models that `restore` takes: a further one is a file beside this one, and a record here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo import cards
from srfoundry.restoration.restorers import diffusion, dip, mzsr, usrnet
from srfoundry.restoration.restorers.restorer import RestoreOptions, Restorer


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        title: what the user may name with --model.
        fits: whether a path or word is of this kind.
        load: makes it ready, once for all images of a call.
    """

    title: str
    fits: Callable[[Path], bool]
    load: Callable[[RestoreOptions, Params], Restorer]


KINDS = (  # in the order in which they are tried
    Kind("the word dip", dip.fits, dip.load),
    Kind("a folder with a diffusion model", diffusion.fits, diffusion.load),
    Kind("a network that adapts (mzsr)", mzsr.fits, mzsr.load),
    Kind("a network that is conditioned on the blur (usrnet)", usrnet.fits, usrnet.load),
)


def load_restorer(options: RestoreOptions, chosen: Params) -> Restorer:
    """Load the model that the user chose, once for all images of a call.

    Args:
        chosen: params.yaml; its sections estimate and diffuse hold the values of `dip` and of diffusion.

    Raises:
        FoundryError: the model is missing, damaged, of a kind that restores no known blur, or of other scales.
    """
    for kind in KINDS:
        if kind.fits(options.model):
            return kind.load(options, chosen)
    given = str(options.model)
    if options.model.suffix == ".safetensors":
        given = f"{cards.read_card(options.model).arch['name']} in {options.model}"
    raise FoundryError(
        f"restore takes {', '.join(kind.title for kind in KINDS)}, got {given}; name another --model "
        "(networks that enlarge by themselves are for 'srfoundry upscale')"
    )
