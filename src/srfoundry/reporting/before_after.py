"""Low resolution, bicubic, a model's result and the original of held-out photographs: the picture of a model's card."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from srfoundry.imaging import images, tiling
from srfoundry.reporting import pictures
from srfoundry.runtime.session import Session


def drawn(session: Session, held_out: Path, names: Sequence[str]) -> bytes | None:
    """PNG of the busiest crop of each photograph.

    Args:
        session: the model.
        held_out: data/synthesize/held_out, with `high` and the test set that the model is judged on.
        names: of the photographs, without endings.

    Returns:
        None where none of them is there.
    """
    rows, card = [], session.card
    for name in names:
        high, low = (held_out / kind / f"{name}.png" for kind in ("high", card.judged_on))
        if high.is_file() and low.is_file():
            small = images.read(low)
            large = tiling.tiled(session.run, small.numpy(), session.scale, tile=card.tile, overlap=card.overlap)
            rows.append((small, {"srfoundry": torch.from_numpy(large)}, images.read(high), None))
    if not rows:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        pictures.hero(path, rows)
        return path.read_bytes()
