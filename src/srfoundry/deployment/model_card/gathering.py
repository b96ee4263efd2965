"""What there is to say of a model: from its card, and from the photographs of the factory where they are at hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.model_card.measuring import WORDS, measure
from srfoundry.deployment.model_card.text import Facts
from srfoundry.imaging import decoding, images
from srfoundry.imaging.patches import Patches
from srfoundry.runtime.session import Session


def gather(session: Session, size: int, data: Path, conditions: Sequence[str] = tuple(WORDS)) -> Facts:
    """Measure a model on the held-out photographs and collect what its card says.

    Args:
        session: the model.
        size: bytes of its file.
        data: data/synthesize, with `train` and `held_out`; either may be missing.
        conditions: what to measure, keys of WORDS.
    """
    held_out = data / "held_out"
    rows = measure(session, held_out, conditions)
    shown = decoding.find(held_out / "high") if rows else []
    return Facts(
        card=session.card,
        size=size,
        rows=rows,
        trained_on=_trained_on(data / "train"),
        held_out=[path.stem for path in shown],
        bundled=bool(shown) and all(map(is_bundled, shown)),
    )


def is_bundled(path: Path) -> bool:
    """Whether a held-out photograph is one of those that come with scikit-image and scikit-learn, pixel by pixel."""
    try:
        originals = {each.stem: each for each in images.bundled()}
    except ModuleNotFoundError:
        return False
    original = originals.get(path.stem)
    if original is None:
        return False
    high, whole = images.read(path).numpy(), images.read(original).numpy()
    return np.array_equal(high, whole[..., : high.shape[-2], : high.shape[-1]])


def _trained_on(folder: Path) -> list[str]:
    try:
        return Patches.open(folder).photographs()
    except FoundryError:
        return []
