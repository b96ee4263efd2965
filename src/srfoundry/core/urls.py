"""Addresses as people may see them."""

from urllib.parse import urlsplit, urlunsplit


def shown(uri: str) -> str:
    """An address without the password in it."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)) if "@" in parts.netloc else uri
