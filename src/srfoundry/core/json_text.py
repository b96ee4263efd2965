"""JSON from files of unknown worth: as deep as Python's own functions can follow, no deeper."""

import json
from typing import Any

DEEPEST = 40  # levels


def read(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or is nested more than DEEPEST levels deep.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError(f"JSON must be up to {DEEPEST} levels deep") from None
    waiting = [(found, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"JSON must be up to {DEEPEST} levels deep")
        if isinstance(value, (dict, list)):
            waiting += [(each, depth + 1) for each in (value.values() if isinstance(value, dict) else value)]
    return found
