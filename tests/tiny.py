"""A tiny network and its exported file, made once a test process: exporting takes seconds."""

import tempfile
from functools import cache
from pathlib import Path

from srfoundry.core import seeds
from srfoundry.deployment import export
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import OnnxCard

ARCH = {"name": "drn", "scale": 2, "blocks": 1, "width": 4}
TARGET = GraphTarget(opset=11, tile=64, tile_error=2e-3)
# sizes: odd, never traced, smaller than a kernel
CHECK = ParityCheck(sizes=[(64, 64), (37, 53), (17, 40), (5, 7), (3, 2)], tolerance=1e-4)
QUICK = ParityCheck(sizes=[(20, 30)], tolerance=1e-4)


def net() -> DRN:
    """A DRN with random weights, the same each time."""
    made = DRN(scale=2, blocks=1, width=4)
    rng = seeds.generator(3, "tiny")
    for name, value in made.named_parameters():
        if value.requires_grad:
            value.data.normal_(0, 0.15 if name.endswith("weight") else 0.02, generator=rng)
    return made.eval()


def card() -> cards.Card:
    """What its checkpoint would say."""
    return cards.Card(dict(ARCH), 2, 1, "prune", "0123456789abcdef", {"psnr_y": 30.5})


def describe() -> OnnxCard:
    """What its exported file says."""
    held_out = {"held_out.bicubic": {"psnr_y": 31.0, "gain_db": 1.0}, "held_out.md5": "these"}
    return export.describe(net(), card(), TARGET, pictures=[], name="tiny", data_hash="d" * 32, metrics=held_out)


@cache
def exported() -> tuple[bytes, float]:
    """Bytes of its .onnx file, and the worst difference that export.write found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        worst = export.write(net(), describe(), path, CHECK).worst
        return path.read_bytes(), worst
