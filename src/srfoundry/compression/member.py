"""A further member of a family: compressed by any method, then tuned with the dense net as its teacher."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from srfoundry.compression.compressors import COMPRESSORS
from srfoundry.compression.recipe import Conditions, Member, Smaller, finish
from srfoundry.compression.settings import Compression, Tuning
from srfoundry.imaging.patches import Patches


@dataclass(frozen=True)
class Made:
    """A member, the dense net that it was made of, and what the method came to before the tuning."""

    member: Member
    dense: Any
    found: Smaller


def make_member(
    opened: Callable[[], tuple[Any, nn.Module]],
    method: str,
    how: Compression,
    tuning: Tuning,
    on: Conditions,
    *,
    start: Literal["search", "dual"],
    validation: Patches,
) -> Made:
    """Compress a dense net by a method and fine-tune what is left.

    A method that does not search is tuned for as many steps more.

    Args:
        opened: gives the dense net and its dual nets, anew at each call: the method trains its copy.
        method: a name of compression.compressors.
        how: what must go, and how it is searched.
        tuning: the fine-tuning, and the selection of channels before it.
        on: photographs, hardware, random numbers and state.
        start: where a search was of widths alone, from its own weights or from the dense net's.
        validation: the photographs for the scores.
    """
    compressor = COMPRESSORS[method]
    found = compressor.load()(*opened(), how, on.beside("search"))
    dense, duals = opened()
    searched, moved = found.net, found.duals
    if found.selectable and start == "dual":
        searched, moved = None, duals
    search_steps = how.searching.descent.steps
    steps = tuning.descent.steps + (0 if compressor.searches else search_steps)
    member = finish(
        dense,
        moved,
        found.widths,
        replace(tuning, descent=replace(tuning.descent, steps=steps)),
        on.after(search_steps if found.history else 0),
        searched=searched,
        validation=validation,
    )
    return Made(member, dense, found)
