"""One photograph through the server's models: decoded, cut into tiles that are batched with others', and encoded."""

from collections import deque
from collections.abc import Hashable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from srfoundry.imaging import levels, tiling, user_image
from srfoundry.imaging.user_image import Handling
from srfoundry.runtime import choosing
from srfoundry.serving.batching import Batcher
from srfoundry.serving.images import NAMES, Upload
from srfoundry.serving.jobs import Cancelled, Job, Result
from srfoundry.serving.members import Loaded, Member

FEWEST, MOST = 32, 1024  # pixels of a tile's side that a client may ask for


@dataclass(frozen=True)
class Enlargement:
    """What a client wants of a photograph.

    Attributes:
        upload: the photograph.
        member: by whom.
        tile: side of a tile, pixels; the model's own if None.
        suffix: of the result's format.
        largest: pixels that are decoded.
        photo: who takes its place where the photograph is damaged; None where a client named the member.
    """

    upload: Upload
    member: Member
    tile: int | None
    suffix: str
    largest: int
    photo: Member | None = None

    def tiles(self) -> int:
        """How many there will be."""
        return tiling.count(self.upload.height, self.upload.width, *_tiles(self.member.loaded, self.tile))

    def run(self, job: Job, batcher: Batcher) -> None:
        """Do it, in a working thread; the job's result is the file."""
        how = Handling(largest=self.largest)
        original, target = user_image.read(self.upload.path, how), job.folder / f"result{self.suffix}"
        member = self._chosen(original, job)
        loaded = member.loaded  # the version of this moment, to the end
        job.begin(loaded.version)
        user_image.check_target(original, target, loaded.card.scale)
        pixels = enlarge(original.pixels, loaded, batcher, job, tile=self.tile)
        user_image.write(pixels, original, target, how)
        job.result = Result(target, NAMES[self.suffix])

    def _chosen(self, original: user_image.Photograph, job: Job) -> Member:
        """Who fits the photograph; the job notes who, and why."""
        if self.photo is None:
            return self.member
        choice = choosing.choose(original)
        chosen = self.member if choice.kind == "clean" else self.photo
        job.model, job.more = chosen.name, {"why": choice.why}
        return chosen


def enlarge(
    pixels: UInt8[np.ndarray, "h w 3"], loaded: Loaded, batcher: Batcher, job: Job, *, tile: int | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Enlarge an image as `srfoundry upscale` does, by tiles that may share runs with those of others.

    Args:
        pixels: of the image.
        loaded: the model.
        batcher: runs its tiles.
        job: whose tiles these are; notes each that is done, and may end the work.
        tile: side of a tile, pixels; the model's own if None.
    """
    side, overlap = _tiles(loaded, tile)
    grid = tiling.fit(pixels.shape[0], pixels.shape[1], side, overlap)
    ahead = 2 * max(loaded.plan.batch, batcher.threads // loaded.plan.threads)
    pieces = _Ahead(pixels, grid, loaded, batcher, job, ahead)
    try:
        return tiling.assembled_uint8(pieces, grid, pixels.shape[:2], loaded.card.scale, progress=job.tick)
    finally:
        batcher.drop(job)


def _tiles(loaded: Loaded, wanted: int | None) -> tuple[int, int]:
    """Side and overlap of tiles, as the command line takes them."""
    side = wanted or loaded.card.tile
    return side, min(loaded.card.overlap, side // 4)


@dataclass
class _Ahead:
    """The enlarged tiles of an image in their order, each asked for some tiles before it is needed."""

    pixels: UInt8[np.ndarray, "h w 3"]
    grid: tiling.Grid
    loaded: Loaded
    batcher: Batcher
    owner: Hashable
    ahead: int

    def __post_init__(self) -> None:
        self._places = iter(product(self.grid.rows, self.grid.columns))
        self._asked: deque[Future[np.ndarray]] = deque()

    def __call__(self, _rows: slice, _columns: slice) -> Float[np.ndarray, "1 3 H W"]:
        while len(self._asked) <= self.ahead:
            place = next(self._places, None)
            if place is None:
                break
            self._asked.append(self._ask(*place))
        try:
            return self._asked.popleft().result()
        except CancelledError:  # the job was dropped, or the server ends
            raise Cancelled from None

    def _ask(self, top: int, left: int) -> Any:
        part = self.pixels[top : top + self.grid.tall, left : left + self.grid.wide]
        return self.batcher.submit(self.loaded, self.owner, levels.to_floats(part))
