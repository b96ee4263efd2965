"""The trained networks by the names that the result tables, the registry and the exported files give them."""

from collections.abc import Mapping

FAMILY: Mapping[str, str] = {  # member -> its file under models/, largest first
    "dual": "dual",
    "pruned": "prune",
    "pruned50": "compress_50",
    "pruned70": "compress_70",
}
FIXED: Mapping[str, str] = {"pretrain": "pretrain", **FAMILY}  # those that neither adapt nor are given a kernel
ZERO_SHOT = ("pretrain", "metatrain")  # those that run on an image already enlarged
NETS = sorted({*FIXED.values(), *ZERO_SHOT})
