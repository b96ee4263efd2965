"""Photographs enlarged from Python, by an exported model and in tiles; the command `upscale` goes the same way.

    from srfoundry.runtime.upscaler import Upscaler

    upscaler = Upscaler.load("models:/srfoundry@champion")     # or a path: exports/pruned.onnx
    upscaler("photo.jpg").save("photo_x2.png")                 # a file or a Pillow image gives a Pillow image
    pixels = upscaler(np.asarray(image))                       # uint8, h w 3, gives the same
    upscaler.file("photo.jpg", "photo_x2.jpg", progress=print) # date, camera and colour profile kept

Where a model for damaged photographs is there too, `runtime.chooser` takes the one that fits, in the same lines.

Tensors on the CPU share their memory with arrays both ways: `torch.from_numpy(upscaler(tensor))` copies nothing but
what is new. Calls from several threads are safe.
"""

from pathlib import Path
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from srfoundry.core import cores
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, tiling, user_image
from srfoundry.imaging.tiling import Progress
from srfoundry.imaging.user_image import USUAL, Handling, Photograph
from srfoundry.runtime.session import OnnxCard, Session


@runtime_checkable  # for the shape checks of the tests
class Model(Protocol):
    """What enlarges an image in [0, 1]: a Session, or the program's TorchModel."""

    scale: int

    def run(self, low: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b c H W"]: ...


@runtime_checkable
class Shareable(Protocol):
    """An array, or a tensor of PyTorch or another library that exchanges memory by DLPack."""

    def __dlpack__(self, *order: Any, **named: Any) -> Any: ...


class Upscaler:
    """A model and the tiles that it is run in.

    Args:
        model: what enlarges.
        tile: side of the largest square that runs at once, input pixels; less needs less memory.
        overlap: input pixels that a tile reaches into its neighbours.

    Raises:
        FoundryError: the tile has no room for its overlaps.
    """

    def __init__(self, model: Model, *, tile: int, overlap: int) -> None:
        tiling.check(tile, overlap)
        self.model, self.tile, self.overlap = model, tile, overlap

    @classmethod
    def load(
        cls,
        model: str | Path | bytes,
        *,
        threads: int | None = None,
        device: str = "auto",
        tile: int | None = None,
        overlap: int | None = None,
    ) -> "Upscaler":
        """An exported model, ready to run.

        Args:
            model: a .onnx file, its bytes, or the address of a registered one (models:/NAME@ALIAS, models:/NAME/3),
                which is looked up at MLFLOW_TRACKING_URI.
            threads: of one image; one a core if not given.
            device: one of providers.DEVICES: auto, cpu, cuda, tensorrt, openvino.
            tile: side of the largest square that runs at once, input pixels; the model's own if not given.
            overlap: input pixels that a tile reaches into its neighbours; the model's own if not given.

        Raises:
            FoundryError: no such file or registered model, no model of ours, no GPU, or ONNX Runtime is missing.
        """
        if isinstance(model, str) and model.startswith("models:/"):
            from srfoundry.runtime import pulling

            model = pulling.pull(model)
        source = model if isinstance(model, bytes) else Path(model)
        if isinstance(source, Path) and source.suffix == ".safetensors":
            raise FoundryError(
                f"{source} is a checkpoint, which PyTorch runs: srfoundry upscale --model {source}; "
                "or take an exported .onnx file"
            )
        session = Session(source, threads=threads or cores.usable(), device=device)
        tile = tile or session.card.tile
        return cls(session, tile=tile, overlap=_within(tile, session.card.overlap) if overlap is None else overlap)

    @property
    def scale(self) -> int:
        """By which it enlarges."""
        return self.model.scale

    @property
    def card(self) -> OnnxCard:
        """What the model's file says of itself."""
        if not isinstance(self.model, Session):
            raise FoundryError(f"{type(self.model).__name__} has no card of an exported model; export it")
        return self.model.card

    @overload
    def __call__(
        self,
        image: str | Path | Image.Image,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        progress: Progress | None = None,
    ) -> Image.Image: ...

    @overload
    def __call__(
        self,
        image: Shareable,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        progress: Progress | None = None,
    ) -> UInt8[np.ndarray, "H W 3"]: ...

    def __call__(
        self, image: Any, *, tile: int | None = None, overlap: int | None = None, progress: Progress | None = None
    ) -> Any:
        """Enlarge one image.

        Args:
            image: the path of a photograph or a Pillow image of any mode of 8 bits (alpha is enlarged bicubically,
                grey stays grey), or an array or a CPU tensor: uint8, h w 3, RGB.
            tile: as for `load`, for this call.
            overlap: likewise.
            progress: called with (tiles done, tiles in all).

        Returns:
            A Pillow image, for an array or tensor an array.

        Raises:
            FoundryError: the image cannot be read or is of another kind, or the tile has no room for its overlaps.
        """
        tiles = self._tiles(tile, overlap)
        if isinstance(image, (str, Path)):
            photograph = user_image.read(Path(image))
        elif isinstance(image, Image.Image):
            photograph = user_image.of(decoding.plain(image))
        else:
            return self._enlarged(as_array(image), tiles, progress)
        return user_image.picture(self._enlarged(photograph.pixels, tiles, progress), photograph)

    def floats(
        self,
        low: Shareable,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        progress: Progress | None = None,
    ) -> Float[np.ndarray, "1 3 H W"]:
        """Enlarge an image of floats in [0, 1], 1 3 h w, an array or a CPU tensor; the rest as in a call."""
        side, reach = self._tiles(tile, overlap)
        image = np.asarray(_shared(low), np.float32)
        if image.ndim != 4 or image.shape[:2] != (1, 3) or not image.size:
            raise FoundryError(f"floats must be 1 3 h w, got the shape {image.shape}; transpose or cut them")
        return tiling.tiled(self.model.run, image, self.scale, tile=side, overlap=reach, progress=progress)

    def file(
        self, source: str | Path, target: str | Path, *, how: Handling = USUAL, progress: Progress | None = None
    ) -> None:
        """Enlarge a photograph into another file, whose ending says the format; metadata is kept.

        Args:
            source: a photograph.
            target: what is written, or replaced.
            how: to read and write files.
            progress: called with (tiles done, tiles in all).

        Raises:
            FoundryError: the image cannot be read, or the result not written; the latter before the work if possible.
        """
        self.write(user_image.read(Path(source), how), target, how=how, progress=progress)

    def write(
        self, original: Photograph, target: str | Path, *, how: Handling = USUAL, progress: Progress | None = None
    ) -> None:
        """As `file`, of a photograph that was read already (`user_image.read`)."""
        user_image.check_target(original, Path(target), self.scale)
        pixels = self._enlarged(original.pixels, (self.tile, self.overlap), progress)
        user_image.write(pixels, original, Path(target), how)

    def count(self, height: int, width: int) -> int:
        """How many tiles an image of this size takes."""
        return tiling.count(height, width, self.tile, self.overlap)

    def _tiles(self, tile: int | None, overlap: int | None) -> tuple[int, int]:
        side = tile or self.tile
        reach = _within(side, self.overlap) if overlap is None else overlap
        tiling.check(side, reach)
        return side, reach

    def _enlarged(
        self, pixels: UInt8[np.ndarray, "h w 3"], tiles: tuple[int, int], progress: Progress | None
    ) -> UInt8[np.ndarray, "H W 3"]:
        side, reach = tiles
        return tiling.tiled_uint8(self.model.run, pixels, self.scale, tile=side, overlap=reach, progress=progress)


def _within(tile: int, overlap: int) -> int:
    """A model's own overlap, as far as a small tile has room for it."""
    return min(overlap, tile // 4)


def as_array(image: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Pixels as an array, which a tensor shares its memory with.

    Raises:
        FoundryError: they are of another type or shape.
    """
    pixels = _shared(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise FoundryError(
            f"pixels must be uint8, h w 3, RGB, got {pixels.dtype} of the shape {pixels.shape}; convert or transpose "
            "them, or hand floats in [0, 1] to Upscaler.floats"
        )
    return pixels


def _shared(image: Any) -> np.ndarray:
    """An array, or a tensor's own memory as one."""
    if isinstance(image, np.ndarray):
        return image
    if not hasattr(image, "__dlpack__"):
        raise FoundryError(f"an image is a path, a Pillow image, an array or a tensor, got {type(image).__name__}")
    try:
        return np.from_dlpack(image)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:120]
        raise FoundryError(f"the tensor's memory cannot be shared ({said}); call .detach().cpu() on it") from None
