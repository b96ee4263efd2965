"""The family folded, in fp16 and in int8: time of a tile on one thread, bytes, PSNR-Y lost on held-out photographs.

The times are processor seconds, which other work on the machine disturbs little; the least of a few turns counts. The
unfolded networks are exported anew from models/, everything else is what the stage `export` left.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export
from srfoundry.deployment.held_out import HeldOut
from srfoundry.deployment.settings import ParityCheck
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.family import CLEAN
from srfoundry.runtime.session import Session

EXPORTS, MODELS, HELD_OUT = Path("exports"), Path("models"), Path("data/synthesize/held_out")
SIDE = 256  # low-resolution pixels of the tile
TURNS = 7
KINDS = ("fp16", "int8")
DENSE, SMALLEST = "dual", "pruned70"
CHECK = ParityCheck(sizes=[(24, 40)], tolerance=1e-4)
MOST_TIME, MOST_LOSS = 0.8, 0.1  # export.precision_time, export.precision_loss


def figures() -> dict[str, Any]:
    """Ratios of one run; the table beside them has every member."""
    if not (EXPORTS / f"{DENSE}.onnx").is_file():
        raise FoundryError(f"there must be {EXPORTS}/{DENSE}.onnx, got none; run `make repro`")
    with TemporaryDirectory() as scratch:
        rows = [_row(name, Path(scratch) / f"{name}.onnx") for name in CLEAN]
    by_name = {row["member"]: row for row in rows}
    smaller = {kind: [row for row in rows if f"{kind}_psnr_loss" in row] for kind in KINDS}
    if not all(smaller.values()):
        raise FoundryError(f"there must be models in {EXPORTS}/fp16 and int8, got none; set export.precisions to both")
    worth = [
        row for row in smaller["int8"] if row["int8_time_ratio"] < MOST_TIME and row["int8_psnr_loss"] <= MOST_LOSS
    ]
    dense, least = by_name[DENSE], by_name[SMALLEST]
    found: dict[str, Any] = {
        "folded_time_ratio": max(row["folded_time_ratio"] for row in rows),
        "folded_time_ratio_dense": dense["folded_time_ratio"],
        "member_time_ratio_70": round(least["ms"] / dense["ms"], 3),
        "member_time_ratio_70_unfolded": round(least["unfolded_ms"] / dense["unfolded_ms"], 3),
    }
    for name in ("psnr_loss", "bytes_ratio", "time_ratio"):
        found[f"fp16_{name}"] = max(row[f"fp16_{name}"] for row in smaller["fp16"])
        found[f"int8_{name}"] = max(row[f"int8_{name}"] for row in worth or smaller["int8"])
    found["int8_registered"] = [row["member"] for row in worth]
    found["int8_refused"] = {row["member"]: row["int8_time_ratio"] for row in smaller["int8"] if row not in worth}
    return found | {"members": rows}


def _row(name: str, unfolded: Path) -> dict[str, Any]:
    """One member: what it takes unfolded, as it is exported, and in lower precision."""
    path = EXPORTS / f"{name}.onnx"
    _unfolded(name, path, unfolded)
    reduced = {kind: EXPORTS / kind / path.name for kind in KINDS}
    files = {"unfolded": unfolded, "ms": path, **{kind: file for kind, file in reduced.items() if file.is_file()}}
    taken = _milliseconds(files)
    judge = HeldOut(HELD_OUT, Session(path, threads=1, device="cpu").scale)
    scores = {key: judge.figures(file.read_bytes()) for key, file in files.items() if key != "unfolded"}
    row: dict[str, Any] = {
        "member": name,
        "unfolded_ms": round(taken["unfolded"], 1),
        "ms": round(taken["ms"], 1),
        "folded_time_ratio": round(taken["ms"] / taken["unfolded"], 3),
    }
    for kind in reduced:
        if kind not in files:  # of the dense network, or refused
            continue
        before, after = scores["ms"], scores[kind]
        assert before is not None and after is not None
        row |= {
            f"{kind}_psnr_loss": round(before.psnr - after.psnr, 4),
            f"{kind}_bytes_ratio": round(after.size / before.size, 3),
            f"{kind}_time_ratio": round(taken[kind] / taken["ms"], 3),
        }
    return row


def _unfolded(name: str, exported: Path, target: Path) -> None:
    """The same network layer for layer."""
    net, _ = cards.load(MODELS / f"{CLEAN[name]}.safetensors")
    export.write(net, Session(exported, threads=1, device="cpu").card, target, CHECK, fold=False)


def _milliseconds(files: dict[str, Path]) -> dict[str, float]:
    """Processor time of one run of each, in turns, the least of TURNS."""
    sessions = {key: Session(path, threads=1, device="cpu") for key, path in files.items()}
    low = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    taken: dict[str, list[float]] = {key: [] for key in files}
    for _ in range(TURNS + 1):
        for key, session in sessions.items():
            began = time.process_time()
            session.run(low)
            taken[key].append(time.process_time() - began)
    return {key: 1000 * min(times[1:]) for key, times in taken.items()}
