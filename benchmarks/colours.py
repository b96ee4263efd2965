"""How far does an exported model shift colours that the photographs it learned from do not hold?

python -m benchmarks.colours            needs `make repro` before
python -m benchmarks.colours --exports /elsewhere/exports
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from srfoundry.core.errors import FoundryError
from srfoundry.runtime.session import Session

LEVELS = (0, 64, 128, 191, 255)  # of each channel: 125 even colours
SIDE, RIM = 48, 16  # input pixels; what is nearer to the border than RIM is not looked at


def shifts(model: Path) -> dict[str, Any]:
    """By how many levels of 255 even colours come out too light or too dark, their worst channel.

    Args:
        model: a .onnx file.
    """
    session = Session(model, threads=1, device="cpu")
    rim = RIM * session.scale
    found = {}
    for colour in product(LEVELS, repeat=3):
        given = np.array(colour, np.float32)[None, :, None, None]
        made = session.run(np.broadcast_to(given / 255, (1, 3, SIDE, SIDE)).astype(np.float32))
        mean = 255 * made.clip(0, 1)[..., rim:-rim, rim:-rim].mean((0, 2, 3))
        found[colour] = float(np.abs(mean - given.ravel()).max())
    worst = max(found, key=found.__getitem__)
    every = np.array(list(found.values()))
    return {
        "model": model.stem,
        "median": round(float(np.median(every)), 2),
        "ninth_decile": round(float(np.quantile(every, 0.9)), 2),
        "worst": round(found[worst], 1),
        "of": "{} {} {}".format(*worst),
    }


def main() -> None:
    """Measure every member of the exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exports", type=Path, default=Path("exports"), help="folder (default: %(default)s)")
    options = parser.parse_args()
    files = sorted(options.exports.glob("*.onnx"))
    if not files:
        raise FoundryError(f"{options.exports} holds no .onnx file; run `make repro` first, or name another folder")
    rows = [shifts(path) for path in files]
    table.report("colours", rows, threads=1, **{f"{row['model']}_worst": row["worst"] for row in rows})


if __name__ == "__main__":
    table.run(main)
