"""How the authors' file of a network names its weights: what stands in the network's own file, and is applied by
networks.published_weights, in both directions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Rules = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class PublishedLayout:
    """The authors' names, and what else differs.

    Args:
        rules: a pattern at the start of their name, and ours; the first that matches counts. Braces stand for places.
        places: what each brace of the rules stands for in a net of given keywords.
        derived: pattern of their names that follow from the sizes and are left out.
        derive: gives a net's tensors of those names, for a file in their layout.
        rescale: takes and gives images in [0, 255] before it and in [0, 1] after it, in place; None where the authors
            train on [0, 1], too.
    """

    rules: Rules
    places: Callable[[Mapping[str, Any]], dict[str, str]] = field(default=lambda _keywords: {})
    derived: str | None = None
    derive: Callable[[Any], dict[str, Any]] = field(default=lambda _net: {})
    rescale: Callable[[Any], None] | None = None
