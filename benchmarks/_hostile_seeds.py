"""A valid file and how it is made hostile, and damage that several formats share."""

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

Change = Callable[[bytes, random.Random], bytes]
NUMBERS = (0, -1, 1, 2, 3, 7, 2**15, 2**16, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))


@dataclass(frozen=True)
class Seed:
    """A valid file, what reads it, and how it is damaged.

    Attributes:
        name: with its ending.
        reader: of `_hostile_reader`.
        data: its bytes.
        change: makes it hostile, knowing its format.
        sound: whether the file as it is must be read; hand-made traps are not.
    """

    name: str
    reader: str
    data: bytes
    change: Change
    sound: bool = True


def garbled(data: bytes, rng: random.Random) -> bytes:
    """Damage that knows no format: bits, numbers, stretches, another length."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not made:
            break
        at = rng.randrange(len(made)) if rng.random() < 0.6 else rng.randrange(min(len(made), 300))
        match rng.randrange(6):
            case 0:
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                made[at] = rng.choice((0, 1, 127, 128, 254, 255))
            case 2:
                del made[at:]
            case 3:
                size = rng.choice((2, 4, 8))
                made[at : at + size] = (rng.choice(NUMBERS) & (256**size - 1)).to_bytes(
                    size, rng.choice(("big", "little"))
                )
            case 4:
                made[at:at] = made[at : at + rng.choice((4, 40, 400))] * rng.choice((1, 2, 20))
            case _:
                del made[at : at + rng.choice((1, 4, 40))]
    return bytes(made)


def repacked(data: bytes, rng: random.Random) -> bytes:
    """A zip (.pt, .npz, an archive) one of whose members is damaged and stored again with a right checksum."""
    if rng.random() < 0.4:
        return garbled(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = [(one, file.read(one)) for one in file.infolist()]
    except Exception:  # it was damaged before
        return garbled(data, rng)
    packed = io.BytesIO()
    chosen = rng.randrange(len(members)) if members else 0
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for number, (member, body) in enumerate(members):
            if number == chosen and rng.random() < 0.1:
                continue
            file.writestr(member.filename, garbled(body, rng) if number == chosen else body)
    return packed.getvalue()
