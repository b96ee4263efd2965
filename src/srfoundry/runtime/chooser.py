"""Photographs enlarged by the member of a family that fits each: one for clean reductions, one for real photographs.

from srfoundry.runtime.chooser import Chooser

chooser = Chooser.load("exports/")                  # or models:/srfoundry: its aliases champion and photo
taken = chooser.file("photo.jpg", "photo_x2.png")   # as Upscaler.file
print(taken.member, taken.why)                      # photo it was a JPEG of quality 50
large = chooser("photo.jpg")                        # a path, a Pillow image or an array, as an Upscaler takes them
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, user_image
from srfoundry.imaging.tiling import Progress
from srfoundry.imaging.user_image import USUAL, Handling, Photograph
from srfoundry.runtime import choosing
from srfoundry.runtime.choosing import Kind
from srfoundry.runtime.upscaler import Upscaler, as_array

CLEAN = ("champion", "pruned")  # names of members for clean reductions, the first that is there
PHOTO = ("photo", "photo50")  # and of those for real photographs
REGISTRY = "models:/"


@dataclass(frozen=True)
class Taken:
    """Whose result it is.

    Attributes:
        member: its name.
        why: it was taken.
    """

    member: str
    why: str


@dataclass(frozen=True)
class Pair:
    """Where the two members are.

    Attributes:
        clean: name and file or address.
        photo: likewise; None where there is none.
    """

    clean: tuple[str, str]
    photo: tuple[str, str] | None


def find(where: str | Path) -> Pair:
    """The members of a folder or of a registered model.

    Args:
        where: a folder of .onnx files (pruned.onnx or, without it, the first; photo.onnx or photo50.onnx), or
            models:/NAME (its aliases champion, and photo or photo50).

    Raises:
        FoundryError: there is no member, or the registry does not answer.
    """
    if str(where).startswith(REGISTRY):
        return _registered(str(where))
    found = {path.stem: str(path) for path in sorted(Path(where).glob("*.onnx"))}
    clean, photo = _first(found, CLEAN), _first(found, PHOTO)
    others = [name for name in found if name not in PHOTO]
    name = clean or next(iter(others or found), None)
    if name is None:
        raise FoundryError(f"no model: {where} holds no .onnx file; run `make repro`, or name one with --model")
    return Pair((name, found[name]), None if photo is None or photo == name else (photo, found[photo]))


class Chooser:
    """Two members of a family, each loaded once: the one for clean images at once, the other when it is first wanted.

    Args:
        pair: where they are.
        options: of `Upscaler.load`: threads, device, tile, overlap.
    """

    def __init__(self, pair: Pair, options: Mapping[str, Any] | None = None) -> None:
        self.pair, self._options = pair, dict(options or {})
        self._clean = Upscaler.load(pair.clean[1], **self._options)
        self._photo: Upscaler | None = None
        self._lock = Lock()
        self.scale, self.tile = self._clean.scale, self._clean.tile

    @classmethod
    def load(cls, where: str | Path, **options: Any) -> "Chooser":
        """The members of a folder or of a registered model (`find`); options are those of `Upscaler.load`."""
        return cls(find(where), options)

    def __call__(self, image: Any, *, progress: Progress | None = None) -> Any:
        """Enlarge one image, as an Upscaler does: a path, a Pillow image, or an array or CPU tensor, uint8, h w 3."""
        if isinstance(image, (str, Path)):
            image = decoding.decode(Path(image))
        return self.chosen(image)[0](image, progress=progress)

    def file(
        self, source: str | Path, target: str | Path, *, how: Handling = USUAL, progress: Progress | None = None
    ) -> Taken | None:
        """Enlarge a photograph into another file, as `Upscaler.file`; says who did, None where nobody else could."""
        original = user_image.read(Path(source), how)
        upscaler, taken = self.chosen(original)
        upscaler.write(original, target, how=how, progress=progress)
        return taken

    def chosen(self, image: Any) -> tuple[Upscaler, Taken | None]:
        """Who fits an image (a Photograph that was read, a Pillow image, an array or a tensor), and why."""
        if self.pair.photo is None:
            return self._clean, None
        choice = choosing.choose(_photograph(image))
        if choice.kind == "clean":
            return self._clean, Taken(self.pair.clean[0], choice.why)
        photo = self._load_photo()
        if photo.scale != self.scale:
            why = f"{self.pair.photo[0]} would fit, but enlarges by {photo.scale}, the family by {self.scale}"
            return self._clean, Taken(self.pair.clean[0], why)
        return photo, Taken(self.pair.photo[0], choice.why)

    @property
    def clean(self) -> Upscaler:
        """The member for clean images, where it is known that an image is one."""
        return self._clean

    def count(self, height: int, width: int) -> int:
        """How many tiles an image of this size takes."""
        return self._clean.count(height, width)

    def _load_photo(self) -> Upscaler:
        assert self.pair.photo is not None
        with self._lock:
            if self._photo is None:
                self._photo = Upscaler.load(self.pair.photo[1], **self._options)
            return self._photo


def named(where: str | Path, wanted: str) -> str:
    """The file or address of one member.

    Args:
        where: as for `find`.
        wanted: clean, photo, or the name of a file or an alias.

    Raises:
        FoundryError: there is none.
    """
    pair = find(where)
    kinds: dict[Kind, tuple[str, str] | None] = {"clean": pair.clean, "photo": pair.photo}
    if wanted in kinds:
        found = kinds[wanted]
        if found is None:
            raise FoundryError(f"{where} holds no model for photographs, got --member photo; name one with --model")
        return found[1]
    if str(where).startswith(REGISTRY):
        return f"{where}@{wanted}"
    path = Path(where) / f"{wanted}.onnx"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in Path(where).glob("*.onnx")))
        raise FoundryError(f"--member must be auto, clean, photo or one of {there}, got {wanted}; name one")
    return str(path)


def _registered(address: str) -> Pair:
    from srfoundry.runtime import pulling

    known = {name: f"{address}@{name}" for name in (CLEAN[0], *PHOTO)}
    pulling.find(known[CLEAN[0]])
    for name in PHOTO:
        try:
            pulling.find(known[name])
        except pulling.Missing:
            continue
        return Pair((CLEAN[0], known[CLEAN[0]]), (name, known[name]))
    return Pair((CLEAN[0], known[CLEAN[0]]), None)


def _first(found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in found), None)


def _photograph(image: Any) -> Photograph:
    if isinstance(image, Photograph):
        return image
    if isinstance(image, Image.Image):
        tables = getattr(image, "quantization", None)  # of one that Pillow opened
        made = user_image.of(decoding.plain(image))
        return made if tables is None else replace(made, metadata={**made.metadata, "quantization": tables})
    return Photograph(as_array(image), None, False, {})
