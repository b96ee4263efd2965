"""The trained networks by the names that the result tables, the registry and the exported files give them."""

from collections.abc import Mapping

CLEAN: Mapping[str, str] = {  # member -> its file under models/, largest first
    "dual": "dual",
    "pruned": "prune",
    "pruned50": "compress_50",
    "pruned70": "compress_70",
}
PHOTO: Mapping[str, str] = {"photo": "photo", "photo50": "photo_50"}  # likewise, those for real photographs
FAMILY: Mapping[str, str] = {**CLEAN, **PHOTO}
FIXED: Mapping[str, str] = {"pretrain": "pretrain", **FAMILY}  # those that neither adapt nor are given a kernel
ZERO_SHOT = ("pretrain", "metatrain")  # those that run on an image already enlarged
NETS = sorted({*FIXED.values(), *ZERO_SHOT})
PHOTOGRAPHS = "photographs"  # the test set of those
BLIND = ("div2krk", PHOTOGRAPHS)  # `data.blind_sets.SETS`, which import PyTorch; a test holds them equal
COMPARED = ("pruned", *PHOTO)  # members that are scored on these: beside those for photographs, what users take else
REDUCED = ("pruned", "pruned50", "pruned70", "photo50")  # members that have files of lower precision, too


def judged_on(member: str) -> str:
    """The held-out test set that decides whether a member takes its alias: pruned50 and photo50_int8 are names."""
    return PHOTOGRAPHS if member.partition("_")[0] in PHOTO else "bicubic"
