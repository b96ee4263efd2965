"""Names as MLflow takes them. One that it refuses would take the whole batch that it is sent with along."""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any

LONGEST = 240  # MLflow: 250


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among nested values, by their joined names."""
    return {
        name: float(value)
        for name, value in flatten(values).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def safe(name: str) -> str:
    """The name itself where MLflow takes it, else a readable one: "IMG (1)" -> "IMG _1__3f2a9c".

    Two names stay two: what was changed carries six digits of the original's hash.
    """
    made = re.sub(r"[^\w.\- :/]", "_", name)[:LONGEST]
    if posixpath.normpath(made) != made or made.startswith(("/", "..")) or made == ".":  # MLflow: names may be files
        made = re.sub(r"[/.]", "_", made) or "_"
    if made == name:
        return made
    return f"{made}_{hashlib.md5(name.encode('utf-8', 'surrogateescape'), usedforsecurity=False).hexdigest()[:6]}"
