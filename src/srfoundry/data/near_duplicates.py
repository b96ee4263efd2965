"""Near-duplicate photographs: copies of one picture must not be trained on here and tested on there.

A photograph's hash is the signs of the 16x16 lowest frequencies of its luma's cosine transform, taken over the whole
frame. Size, compression, brightness and contrast hardly move them, and each of the 8 symmetries of the square only
flips known signs or swaps the two axes, so that a mirrored or turned copy is found from the same hash. (imagehash's
phash thresholds at the median of an 8-bit thumbnail, whose mirror image's hash does not follow from its own.)
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images

SIDE = 16  # frequencies along each axis
# Bits of 255 (the mean is not counted). Measured on 509 photographs (t91, BSD400, the bundled): copies re-encoded,
# resized, brightened or with 2 % cut off differ in at most 63; different photographs in at least 86, two views of one
# scene from cameras side by side in 69. Chance pairs halve with each bit below, so that thousands have room too.
DISTANCE = 72
FLAT = 1e-6  # of 255 grey levels: below, a coefficient is rounding, whose sign would depend on the machine
CHUNK = 64  # rows compared at once, or pixel rows transformed: the work stays in the processor's cache


def hash_of(levels: UInt8[ndarray, "h w 3"]) -> str:
    """Return the perceptual hash of an RGB image of any size: 256 bits as 64 hex digits."""
    high, wide = levels.shape[:2]
    across, rows = _cosines(wide).T, np.empty((high, SIDE))
    for start in range(0, high, CHUNK):
        band = images.from_uint8(torch.from_numpy(levels[None, start : start + CHUNK]))
        rows[start : start + CHUNK] = images.matlab_luma(band)[0, 0].double().numpy() @ across
    coefficients = _cosines(high) @ rows
    signs = coefficients > FLAT
    signs[0, 0] = False  # the mean, always positive
    return np.packbits(signs).tobytes().hex()


def _cosines(size: int) -> Float[ndarray, "side size"]:
    frequency, place = np.arange(SIDE)[:, None], np.arange(size) + 0.5
    return np.cos(np.pi / size * frequency * place) / size


def groups(hashes: Mapping[str, str], distance: int = DISTANCE) -> list[list[str]]:
    """Part names into groups of near-duplicates: every name comes once, alone where it is like no other.

    Two are alike where their hashes differ in at most `distance` bits under one of the 8 symmetries of the square; so
    are two that are like a third. Groups and their members are sorted.

    >>> groups({"b": "00" * 32, "a": "00" * 32, "c": "0f" * 32})
    [['a', 'b'], ['c']]

    Raises:
        FoundryError: a hash is not one of `hash_of`.
    """
    names = sorted(hashes)
    if not names:
        return []
    signs = np.stack([_signs(name, hashes[name]) for name in names])
    pairs = np.concatenate([np.empty((2, 0), dtype=np.int64), *_alike(signs, distance)], axis=1)
    graph = coo_array((np.ones(pairs.shape[1], dtype=np.int8), tuple(pairs)), shape=(len(names), len(names)))
    found: dict[int, list[str]] = {}
    for name, label in zip(names, connected_components(graph, directed=False)[1].tolist(), strict=True):
        found.setdefault(label, []).append(name)
    return sorted(found.values())


def _signs(name: str, text: str) -> Bool[ndarray, "side side"]:
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))
        return bits.astype(bool).reshape(SIDE, SIDE)
    except ValueError:
        raise FoundryError(f"{name}: a hash has {SIDE * SIDE // 4} hex digits, got {text!r}; hash it anew") from None


def _alike(signs: Bool[ndarray, "n side side"], distance: int) -> Iterator[Int[ndarray, "2 pairs"]]:
    """Yield the index pairs i <= j that are near in some orientation, a chunk of rows i at a time."""
    odd = np.arange(SIDE) % 2 == 1
    flips = [[False], odd]  # mirroring an axis changes the signs of its odd frequencies
    turned = [s ^ np.reshape(a, (-1, 1)) ^ b for s in (signs, signs.transpose(0, 2, 1)) for a in flips for b in flips]
    own, others = _words(signs), [_words(s) for s in turned]
    for start in range(0, len(signs), CHUNK):
        near = False
        for other in others:
            different = own[:, start : start + CHUNK, None] ^ other[:, None, start:]
            near = near | (np.bitwise_count(different).sum(axis=0, dtype=np.uint16) <= distance)
        rows, columns = np.nonzero(np.triu(near))
        yield np.stack([rows, columns]) + start


def _words(signs: Bool[ndarray, "n side side"]) -> "ndarray":
    """Pack each hash into 4 words of 64 bits, words first, for counting."""
    packed = np.packbits(signs.reshape(len(signs), -1), axis=1)
    return np.ascontiguousarray(packed.view(np.uint64).T)
