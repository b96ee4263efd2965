"""Random numbers as arguments: a generator for each named thing, so that no result depends on order or workers."""

import hashlib

import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and on every name, and on nothing else.

    >>> derive(1, "dual", 7) == derive(1, "dual", 7)
    True
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for `(seed, *names)`; the global generators are never touched.

    >>> torch.rand(1, generator=generator(1, "a")).equal(torch.rand(1, generator=generator(1, "a")))
    True
    """
    rng = torch.Generator(device=device)
    rng.manual_seed(derive(seed, *names))
    return rng
