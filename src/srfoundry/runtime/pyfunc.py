"""An exported model as MLflow calls one: images in, images out, in whatever form the caller has them, of any size.

MLflow is not needed here, nor pandas: a data frame is known by what it can do. What goes in decides what comes out.

| in | out |
|---|---|
| bytes of a PNG, JPEG, WebP, TIFF or BMP file | bytes of a PNG file |
| the same in base64 | base64 of a PNG file |
| uint8, h w, h w 1, h w 3, h w 4 (other integers from 0 to 255 as well) | uint8, as many axes and channels |
| uint8, b h w 1, b h w 3, b h w 4 | the same |
| floats in [0, 1], b 3 h w | float32, the same |
| a list of these, of several sizes | a list |
| a data frame with a column `image` of these | a data frame with that column |
| {"image": any of these} or {"low": floats} | {"image": ...}, {"restored": ...} |
"""

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.runtime.upscaler import Upscaler

COLUMN = "image"  # of a data frame
LOW, RESTORED = "low", "restored"  # tensors by the names that the graph gives them
FORMATS = ("png", "jpg", "webp", "tiff")  # that encoded images come back in
CHANNELS = (1, 3, 4)
FORMS = "encoded bytes, base64, uint8 (h w, h w 3, h w 4, b h w 3) or floats in [0, 1] (b 3 h w)"


class ImageModel:
    """`ImageModel(path).predict(anything that the table above lists)`.

    Args:
        model: the .onnx file.
        threads: of one image; 0 = one a core.
        device: auto, cpu or cuda.
    """

    def __init__(self, model: Path, *, threads: int = 0, device: str = "auto") -> None:
        self.upscaler = Upscaler.load(model, threads=threads or None, device=device)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Enlarge images of any form and size.

        Args:
            model_input: see the table above.
            params: `tile` and `overlap` in input pixels (0 = the card's), `format` of encoded images, one of FORMATS.

        Returns:
            What the table says.

        Raises:
            FoundryError: the input is in none of these forms, or a file in it is damaged.
        """
        return _Call(self.upscaler, params or {}).answer(model_input)


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ImageModel:
    """What MLflow calls: the model's file, and `threads` and `device` as mlflow.pyfunc.load_model was given them."""
    return ImageModel(Path(path), **(model_config or {}))


class _Call:
    """One call: the model with the tiles that this caller wants, and the format of files."""

    def __init__(self, upscaler: Upscaler, params: Mapping[str, Any]) -> None:
        tile = int(params.get("tile") or 0) or upscaler.tile
        overlap = int(params.get("overlap") or 0) or min(upscaler.overlap, tile // 4)
        self.upscale = Upscaler(upscaler.model, tile=tile, overlap=overlap)
        self.format = str(params.get("format") or FORMATS[0])
        if self.format not in FORMATS:
            raise FoundryError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}")

    def answer(self, given: Any) -> Any:
        if hasattr(given, "columns") and hasattr(given, "assign"):
            return self._frame(given)
        if isinstance(given, Mapping):
            return self._named(given)
        if isinstance(given, (bytes, bytearray, memoryview)):
            return self._file(bytes(given))
        if isinstance(given, str):
            return base64.b64encode(self._file(_decoded(given))).decode("ascii")
        if isinstance(given, np.generic):
            return self.answer(given.item())
        if isinstance(given, (list, tuple)):
            numbers = _numbers(given)
            return [self.answer(each) for each in given] if numbers is None else self._array(numbers)
        if isinstance(given, np.ndarray):
            return self._array(given)
        raise FoundryError(f"the input must be {FORMS}, or a list of these, got {type(given).__name__}")

    def _frame(self, frame: Any) -> Any:
        names = list(frame.columns)
        name = COLUMN if COLUMN in names else names[0] if len(names) == 1 else None
        if name is None:
            raise FoundryError(f"the data frame must have a column {COLUMN!r}, got {names}; rename the one with images")
        return frame[[name]].assign(**{str(name): [self.answer(each) for each in frame[name]]})

    def _named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if len(given) != 1 or not set(given) <= {COLUMN, LOW}:
            raise FoundryError(f"named input must be {COLUMN!r} or {LOW!r}, got {list(given)}; name it so")
        ((name, values),) = given.items()
        return {RESTORED if name == LOW else name: self.answer(values)}

    def _array(self, given: np.ndarray) -> Any:
        kind = given.dtype.kind
        if kind in "SUO":  # texts and files; arrays of several sizes
            return self.answer(given.item()) if given.ndim == 0 else [self.answer(each) for each in given.tolist()]
        if kind == "f":
            return self._tensor(given)
        if kind not in "iu":
            raise FoundryError(f"an array must be of integers or floats, got {given.dtype}; hand over {FORMS}")
        if given.dtype != np.uint8:
            if given.size and (given.min() < 0 or given.max() > 255):
                raise FoundryError(f"pixels must be from 0 to 255, got {given.min()} to {given.max()}; scale them")
            given = given.astype(np.uint8)
        if given.ndim == 4 and given.shape[-1] in CHANNELS:
            return np.stack([self._pixels(each) for each in given]) if len(given) else _empty(given, self.upscale.scale)
        if given.ndim == 2 or (given.ndim == 3 and given.shape[-1] in CHANNELS):
            return self._pixels(given)
        raise FoundryError(f"pixels must be h w, h w 3, h w 4 or b h w 3, got the shape {given.shape}; transpose them")

    def _pixels(self, given: np.ndarray) -> np.ndarray:
        """Enlarge 8-bit pixels with as many channels as they have."""
        _check(given.shape[:2])
        if given.ndim == 3 and given.shape[-1] == 1:
            return self._pixels(given[..., 0])[..., None]
        return np.asarray(self.upscale(Image.fromarray(given)))

    def _tensor(self, given: np.ndarray) -> np.ndarray:
        if given.ndim != 4 or given.shape[1] != 3:
            raise FoundryError(f"floats must be b 3 h w, RGB in [0, 1], got the shape {given.shape}; transpose them")
        _check(given.shape[2:])
        scale = self.upscale.scale
        large = np.empty((len(given), 3, given.shape[2] * scale, given.shape[3] * scale), np.float32)
        for index, image in enumerate(given):
            large[index] = self.upscale.floats(image[None])[0]
        return large

    def _file(self, blob: bytes) -> bytes:
        """Enlarge an encoded photograph: alpha, greyness, colour profile and EXIF are kept."""
        with tempfile.TemporaryDirectory(prefix="srfoundry-") as folder:
            low, high = Path(folder) / "the image", Path(folder) / f"large.{self.format}"
            low.write_bytes(blob)
            try:
                self.upscale.file(low, high)
            except FoundryError as error:
                raise FoundryError(str(error).replace(f"{folder}/", "")) from None
            return high.read_bytes()


def _decoded(text: str) -> bytes:
    head, _, rest = text.partition(",")
    try:
        return base64.b64decode("".join((rest if head.startswith("data:") else text).split()), validate=True)
    except (binascii.Error, ValueError):
        raise FoundryError(f"a text must be an image in base64, got {text[:40]!r}; encode the file's bytes") from None


def _numbers(given: Any) -> np.ndarray | None:
    """Nested lists of numbers, as JSON has them, as one array; None for lists of images."""
    first = given
    while isinstance(first, (list, tuple)):
        if not first:
            return None
        first = first[0]
    if isinstance(first, bool) or not isinstance(first, (int, float)):
        return None
    try:
        return np.array(given)
    except ValueError:  # images of several sizes
        return None


def _check(extent: tuple[int, ...]) -> None:
    if not all(extent):
        raise FoundryError(f"an image must have pixels, got {extent[0]}x{extent[1]}; leave empty ones out")


def _empty(given: np.ndarray, scale: int) -> np.ndarray:
    return np.empty((0, given.shape[1] * scale, given.shape[2] * scale, given.shape[3]), np.uint8)
