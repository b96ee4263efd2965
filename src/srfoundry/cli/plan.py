"""Where the results of one call go: all are named before the first is written, and none replaces what is there.

A result's name is the image's with something appended, so that photo.v1.png and photo.png never meet; where two results
of a call would still have one name, the image's ending, then a number, keeps them apart. Names are compared as the
pickiest file systems do, without regard to case. All of this is linear in the number of images.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from srfoundry.cli.claiming import claim, identity_of
from srfoundry.cli.place import Existing, Place
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding

LONGEST = 255  # bytes of a file's name on the file systems of Linux


@dataclass(frozen=True)
class Naming:
    """How results are called after their images.

    Attributes:
        word: what is appended to an image's name, such as x2.
        ending: of results, unless --out names a file.
        beside: what else is written for each image, as endings of the result's stem, such as _kernel.npy.
    """

    word: str
    ending: str = ".png"
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One image to read and the file to write.

    Attributes:
        source: the image.
        target: its result.
        endings: of what is written beside that.
    """

    source: Path
    target: Path
    endings: tuple[str, ...] = ()

    def beside(self, ending: str) -> Path:
        """A further file of this job: NAME_kernel.npy for NAME.png and _kernel.npy."""
        return self.target.with_name(self.target.stem + ending)

    @property
    def outputs(self) -> list[Path]:
        """All files that it writes."""
        return [self.target, *map(self.beside, self.endings)]


@dataclass(frozen=True)
class Plan:
    """What one call does.

    Attributes:
        jobs: in the order of the call; of a folder in that of its paths.
        batch: whether it was asked for several images, so that a bad one does not end it.
        done: results that were there already and are kept.
        left_out: files of folders that are pictures of kinds that are not read.
        results: images of the call that are results of others of them, and no jobs.
    """

    jobs: list[Job]
    batch: bool = False
    done: int = 0
    left_out: list[Path] = field(default_factory=list)
    results: int = 0

    def remarks(self) -> list[str]:
        """What the user should know before the work."""
        said = []
        if self.done:
            said.append(f"{self.done} results are there already and stay as they are")
        if self.results:
            said.append(f"left out: {self.results} images that are results of others of this call")
        if self.left_out:
            kinds = Counter(path.suffix.lower() for path in self.left_out)
            counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            said.append(f"left out: {counted}, which cannot be read; save them as PNG or JPEG")
        return said


def images_of(sources: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The images that `sources` (images and folders) stand for, and pictures of the folders that cannot be read.

    Raises:
        FoundryError: a folder holds no image or cannot be listed.
    """
    found, others = list[Path](), list[Path]()
    for each in sources:
        inside, unread = _parted(each, decoding.walk(each)) if os.path.isdir(each) else ([each], [])
        found += inside
        others += unread
    return found, others


def plan(
    sources: Sequence[Path],
    out: Place | None,
    naming: Naming,
    *,
    existing: Existing = "refuse",
    read: Sequence[Path] = (),
) -> Plan:
    """Which images `sources` (images and folders, nested ones too) stand for, and where each result goes.

    NAME.jpg goes to NAME_WORD.png beside it, a folder to FOLDER_WORD/ with the same tree and names inside; with --out
    into that folder or file, where several folders keep their names.

    Args:
        sources: images or folders; what is named twice is done once.
        out: the file or folder to write instead.
        naming: of the results.
        existing: what becomes of files that are there under the results' names.
        read: further files that the call reads, which no result may replace.

    Raises:
        FoundryError: nothing there, or a result would replace a file.
    """
    batch = len(sources) > 1 or os.path.isdir(sources[0])
    if batch and out is not None and not (out.folder or os.path.isdir(out.path) or not os.path.lexists(out.path)):
        raise FoundryError(
            f"--out must be a folder where there are several images or a folder of them, got the file {out.path}; "
            "name a folder"
        )
    wishes: list[_Wish] = []
    left_out: list[Path] = []
    for source in dict.fromkeys(sources):
        if os.path.isdir(source):
            found, others = _inside(source, _folder_for(source, out, naming, several=len(sources) > 1))
            wishes += found
            left_out += others
        else:
            wishes.append(_beside(source, out, naming, batch=batch))
    jobs = _named(wishes, naming)
    if existing == "skip":  # a glob that is used again finds the results, too
        jobs = _without_results(jobs)
    kept = [job for job in jobs if not (existing == "skip" and os.path.lexists(job.target))]
    outputs = [path for job in kept for path in job.outputs]
    claim(outputs, [*(job.source for job in jobs), *read], existing=existing)
    return Plan(kept, batch, len(jobs) - len(kept), left_out, len(wishes) - len(jobs))


def check_names(job: Job) -> None:
    """Refuse names of results that no file can have.

    Raises:
        FoundryError: it is too long.
    """
    for path in job.outputs:
        length = len(os.fsencode(path.name))
        if length > LONGEST:
            raise FoundryError(
                f"cannot write {path}: its name would have {length} bytes, {LONGEST} are the most; "
                "name a file with --out, or rename the image"
            )


@dataclass(frozen=True)
class _Wish:
    """Where an image's result would go by its own: folder / stem + tail + ending; what keeps twins apart comes
    between."""

    source: Path
    folder: Path
    stem: str
    tail: str
    ending: str

    def path(self, *between: str) -> Path:
        return self.folder / ("_".join([self.stem, *between]) + self.tail + self.ending)


def _folder_for(source: Path, out: Place | None, naming: Naming, *, several: bool) -> Path:
    name = os.path.basename(os.path.realpath(source))
    if out is None:
        return Path(os.path.realpath(source)).with_name(f"{name}_{naming.word}")
    return out.path / name if several else out.path


def _inside(source: Path, folder: Path, /) -> tuple[list[_Wish], list[Path]]:
    """The images of a folder, without results that are kept within it, and the pictures that cannot be read."""
    real = cache(os.path.realpath)
    within = f"{real(folder)}{os.sep}"
    if real(folder) == real(source):
        raise FoundryError(f"results would lie among the images of {source}; name another folder with --out")
    ours = within.startswith(f"{real(source)}{os.sep}")
    listed = [
        path
        for path in decoding.walk(source)
        if not (ours and f"{real(os.path.dirname(path))}{os.sep}".startswith(within))
    ]
    found, others = _parted(source, listed, " outside of the results' own folder")
    below = cache(lambda place: folder / os.path.relpath(place or ".", source))  # "" where the folder is "."
    return [_Wish(path, below(os.path.dirname(path)), path.stem, "", ".png") for path in found], others


def _parted(source: Path, listed: Sequence[Path], where: str = "") -> tuple[list[Path], list[Path]]:
    """Of the files that are listed of a folder its images, and the pictures that cannot be read."""
    found = [path for path in listed if path.suffix.lower() in decoding.SUFFIXES]
    others = [path for path in listed if path.suffix.lower() in decoding.UNREAD]
    if not found:
        seen = f" (but {Plan([], left_out=others).remarks()[0]})" if others else ""
        suffixes = " ".join(sorted(decoding.SUFFIXES))
        raise FoundryError(f"{source} holds no photograph{where}{seen}; put files there that end in {suffixes}")
    return found, others


def _beside(source: Path, out: Place | None, naming: Naming, *, batch: bool) -> _Wish:
    if out is not None and not batch and not out.folder and not os.path.isdir(out.path):
        return _Wish(source, out.path.parent, out.path.stem, "", out.path.suffix)
    folder = source.parent if out is None else out.path
    return _Wish(source, folder, source.stem, f"_{naming.word}", naming.ending)


def _named(wishes: Sequence[_Wish], naming: Naming) -> list[Job]:
    """Give each wish a name of its own: first those whom nobody else wants, then twins by their images' endings."""
    real = cache(os.path.realpath)  # of strings: a Path takes longer to compare than to make

    def key(path: Path) -> tuple[str, str]:
        return real(os.path.dirname(path)), unicodedata.normalize("NFC", path.name).casefold()

    paths = [wish.path() for wish in wishes]
    keys = [key(path) for path in paths]
    wanted = Counter(keys)
    taken: set[tuple[str, str]] = set()
    counts: Counter[tuple[str, str]] = Counter()
    jobs: dict[int, Job] = {}

    def take(index: int, target: Path, own: tuple[str, str]) -> bool:
        job = Job(wishes[index].source, target, naming.beside)
        all_ = {own, *(key(job.beside(ending)) for ending in naming.beside)}
        if not all_.isdisjoint(taken):
            return False
        taken.update(all_)
        jobs[index] = job
        return True

    waiting = []
    for index, (path, own) in enumerate(zip(paths, keys, strict=True)):
        if wanted[own] > 1 or not take(index, path, own):
            waiting.append(index)
    for index in waiting:
        wish = wishes[index]
        between = [wish.source.suffix[1:].lower()] if wish.source.suffix[1:] else []
        base = key(wish.path(*between))
        number = [str(counts[base] + 1)] if counts[base] else []
        while not take(index, path := wish.path(*between, *number), key(path)):
            counts[base] += 1
            number = [str(counts[base] + 1)]
    return [jobs[index] for index in range(len(wishes))]


def _without_results(jobs: Sequence[Job]) -> list[Job]:
    """The jobs but for those whose image another one has written, or writes."""
    makers: dict[tuple[int, int] | None, Job] = {identity_of(path): job for job in jobs for path in job.outputs}
    makers.pop(None, None)  # what is not there yet
    return [job for job in jobs if makers.get(identity_of(job.source), job) == job]
