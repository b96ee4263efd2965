"""Addresses and texts as people may see them: without the passwords, tokens and keys that are in them.

Whatever is printed, logged or sent to MLflow and Prefect goes through `redacted`: every FoundryError, every tag and
parameter, the first line of a library's error.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
LEAST = 6  # characters of a secret in the environment: shorter ones stand in words by chance
_USER = re.compile(r"(?<=://)[^/?#\s'\"]+@")
_VALUE = re.compile(
    r"(?i)([?&;#](?:[\w.-]*(?:token|secret|passw(?:or)?d|pwd|signature|credential|api[_-]?key|access[_-]?key|auth)[\w.-]*"
    r"|sig|key|pat)=)[^&;#\s'\"<>)\]]+"
)
_HEADER = re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|token)\s+)[^\s'\"]+")
_SECRET = re.compile(r"(?i)(token|secret|passw(or)?d|access_key|api_key|credential)")
_WHOLE = ("SRFOUNDRY_NOTIFY",)  # addresses that are secrets as they are


def redacted(text: str) -> str:
    """A text without credentials: those in its addresses, and the values of the environment's secrets.

    >>> redacted("https://me:secret@host/a?token=1&page=2")
    'https://host/a?token=***&page=2'
    """
    if "://" in text or "=" in text or "uthorization" in text:
        text = _VALUE.sub(rf"\g<1>{HIDDEN}", _USER.sub("", text))
        text = _HEADER.sub(rf"\g<1>{HIDDEN}", text)
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return text


def hidden(values: Any) -> Any:
    """The same value, or mapping or list of such, with all its texts `redacted`."""
    if isinstance(values, Mapping):
        return {key: hidden(value) for key, value in values.items()}
    if isinstance(values, list):
        return [hidden(value) for value in values]
    return redacted(values) if isinstance(values, str) else values


def _secrets() -> list[str]:
    """Values of environment variables whose names say that they are secrets, the longest first."""
    named = [value for name, value in os.environ.items() if _SECRET.search(name) or name in _WHOLE]
    long = (value for value in named if len(value) >= LEAST and not os.path.exists(value))  # a file's name is no secret
    return sorted(long, key=len, reverse=True)
