"""The server: throughput and latency under load, an alias that moves meanwhile, hostile requests."""

import os
from pathlib import Path
from typing import Any

from benchmarks import _server_hostile, _server_load, _server_moves
from srfoundry.core.errors import FoundryError

REPO = Path(__file__).resolve().parent.parent


def figures() -> dict[str, Any]:
    """See the three files that it puts together."""
    exports, threads = REPO / "exports", len(os.sched_getaffinity(0))
    if not (exports / "pruned.onnx").is_file():
        raise FoundryError(f"{exports} holds no pruned.onnx; run: make repro")
    return {
        **_server_load.load(exports, threads),
        **_server_moves.moves(exports, threads),
        **_server_hostile.hostile(exports, threads),
    }
