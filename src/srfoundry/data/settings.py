"""What params.yaml says of photographs: where they come from and how they are split. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import Names, Share


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip or tar of photographs to download.

    Args:
        url: http, https or file.
        checksum: sha256:HEX or md5:HEX.
    """

    url: Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
    checksum: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where photographs come from, and which can be used.

    Args:
        source: the photographs inside scikit-image and scikit-learn, a folder, or archives to download.
        folder: of `folder`, relative to the project.
        archives: of `archives`.
        on_bad_image: `stop` at the first that cannot be used, or `skip` it and say so.
        smallest: pixels that the shorter side must have.
    """

    source: Literal["bundled", "folder", "archives"]
    folder: Annotated[str, Field(min_length=1)]
    archives: list[Archive]
    on_bad_image: Literal["stop", "skip"]
    smallest: Annotated[int, Field(ge=32)]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which photographs are not trained on.

    Args:
        held_out: names, or a share in (0, 1) of the scenes: those whose hash of seed and name lies within it, so that
            a new photograph moves no other. About so many, then, and at least one.
        validation: likewise, of those that are not held out; models are chosen on these.
    """

    held_out: Names | Share
    validation: Names | Share
