"""Pictures of a report, inside its file: what stages wrote, and pairs for sliders from the exported models."""

import base64
import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images, metrics, resize, tiling, windows
from srfoundry.reporting.run.contents import Pair, Picture
from srfoundry.runtime.session import Session

WINDOW, ZOOM = 192, 2  # pixels a side of a slider's images, and by which they are repeated
QUALITY = 88  # of their WebP
PHOTOGRAPHS = 3  # a model
WRITTEN = {  # what stages wrote, under results/, in the report's order
    "Kernels of the training tasks": "synthesize/kernels.png",
    "Kernels, true and estimated: an isotropic Gaussian": "estimate/gauss20.png",
    "Kernels, true and estimated: an oblique Gaussian": "estimate/aniso.png",
    "Real photographs": "evaluate/pictures/real.jpg",
    "Channels that the search and pruning kept": "prune/widths.png",
    "Beamforming": "beamform/rates.png",
}
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


def written(root: Path) -> list[Picture]:
    """The pictures of stages that are there."""
    found = {title: root / "results" / path for title, path in WRITTEN.items()}
    return [Picture(title, _address(path.read_bytes(), path.suffix)) for title, path in found.items() if path.is_file()]


def pairs(root: Path, *, threads: int) -> list[Pair]:
    """Bicubic beside the smallest-error member of each kind of degradation, on held-out photographs.

    Args:
        root: the project's folder.
        threads: of the models.
    """
    held_out, best = root / "data" / "synthesize" / "held_out", dict[str, Session]()
    for path in sorted((root / "exports").glob("*.onnx")):
        try:
            session = Session(path, threads=threads, device="cpu")
        except FoundryError:
            continue
        test = session.card.judged_on
        if test not in best or _score(session) > _score(best[test]):
            best[test] = session
    return [pair for test, session in best.items() for pair in _of(session, held_out, test)]


def _of(session: Session, held_out: Path, test: str) -> list[Pair]:
    found = []
    for high in sorted((held_out / "high").glob("*.png"))[:PHOTOGRAPHS]:
        low_path = held_out / test / high.name
        if not low_path.is_file():
            continue
        low, original = images.read(low_path), images.read(high)
        scale, card = session.scale, session.card
        bicubic = resize.cubic(low, scale).clamp(0, 1)
        model = torch.from_numpy(tiling.tiled(session.run, low.numpy(), scale, tile=card.tile, overlap=card.overlap))
        box = windows.busiest(original, WINDOW, energy="edges")
        captions = [
            f"{name}, {metrics.psnr_y(image, original, scale):.2f} dB"
            for name, image in (("bicubic", bicubic), (card.name, model))
        ]
        shown = [_slide(windows.crop(image, box)) for image in (bicubic, model)]
        found.append(Pair(f"{high.stem}, {test}", *shown, *captions))
    return found


def _score(session: Session) -> float:
    return float(session.card.scores().get("psnr_y", 0.0))


def _slide(image: Tensor) -> str:
    picture = Image.fromarray(images.to_uint8(image)[0].numpy())
    picture = picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST)
    blob = io.BytesIO()
    picture.save(blob, "WEBP", quality=QUALITY, method=4)
    return _address(blob.getvalue(), ".webp")


def _address(blob: bytes, suffix: str) -> str:
    return f"data:{TYPES[suffix]};base64,{base64.b64encode(blob).decode()}"
