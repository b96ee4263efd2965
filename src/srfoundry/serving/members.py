"""The models that a server offers: each member of a family has one version at a time, which can be exchanged."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from srfoundry.runtime.chooser import PHOTO
from srfoundry.runtime.session import OnnxCard, Session
from srfoundry.serving.batching import Plan
from srfoundry.serving.problems import Problem

AUTO = "auto"  # what a request names, or leaves out, to get the member that fits its photograph


@dataclass(frozen=True, eq=False)
class Loaded:
    """One version of a member, ready to run.

    Attributes:
        version: of the registry, or a digest of the file.
        card: inside the file.
        size: of the file, bytes.
        sessions: by their number of threads. More than one where a tile that is alone gets more threads than others.
        plan: how tiles are run.
        seconds: for a megapixel of input, measured here (self_test.py).
    """

    version: str
    card: OnnxCard
    size: int
    sessions: dict[int, Session]
    plan: Plan
    seconds: float

    def run(self, tiles: Float[np.ndarray, "b 3 h w"], threads: int) -> Float[np.ndarray, "b 3 H W"]:
        """Enlarge tiles of one size, on so many threads or the next that there is."""
        return self.sessions[threads if threads in self.sessions else max(self.sessions)].run(tiles)


@dataclass
class Member:
    """A model under its name.

    Attributes:
        name: what a request asks for.
        alias: in the registry; None for a file.
        loaded: the version that is served; requests that have begun keep theirs.
        refused: a version that was not taken, and why; empty where there is none.
    """

    name: str
    alias: str | None
    loaded: Loaded
    refused: dict[str, str] = field(default_factory=dict)

    def described(self, *, default: bool) -> dict[str, Any]:
        """What GET /v1/models says of it."""
        loaded = self.loaded
        scores = loaded.card.scores()
        return {
            "name": self.name,
            "alias": self.alias,
            "version": loaded.version,
            "scale": loaded.card.scale,
            "parameters": loaded.card.parameters,
            "bytes": loaded.size,
            "psnr_y": scores.get("psnr_y"),
            "gain_db": scores.get("gain_db"),
            "degradation": loaded.card.degradation,
            "seconds_per_megapixel": round(loaded.seconds, 4),
            "default": default,
            "refused": dict(self.refused),
        }


class Family:
    """All members of a server; which one is served under a name can be exchanged while requests run."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """Whom a request without a name gets: the champion, the pruned network, or the first."""
        with self._lock:
            return next(
                (name for name in ("champion", "pruned") if name in self._members), next(iter(self._members), "")
            )

    def photo(self) -> Member | None:
        """Who is trained for real photographs, beside a default that is not and enlarges by as much."""
        with self._lock:
            found = next((self._members[name] for name in PHOTO if name in self._members), None)
        default = self.find(None)
        alike = found is not None and found.loaded.card.scale == default.loaded.card.scale
        return found if alike and default.name not in PHOTO else None

    def take(self, name: str, alias: str | None, loaded: Loaded) -> None:
        """Serve this version from the next request on."""
        with self._lock:
            known = self._members.get(name)
            if known is None:
                self._members[name] = Member(name, alias, loaded)
            else:
                known.loaded = loaded
                known.refused = {}

    def refuse(self, name: str, version: str, why: str) -> None:
        """Note that a version was not taken."""
        with self._lock:
            if name in self._members:
                self._members[name].refused = {"version": version, "why": why}

    def members(self) -> list[Member]:
        """All of them, the default first."""
        first = self.default
        with self._lock:
            return sorted(self._members.values(), key=lambda member: (member.name != first, member.name))

    def current(self, name: str) -> Loaded | None:
        """The version that is served under a name, if one is."""
        with self._lock:
            found = self._members.get(name)
            return found.loaded if found else None

    def find(self, wanted: str | None) -> Member:
        """The member of this name.

        Raises:
            Problem: there is none.
        """
        name = self.default if wanted in (None, "", AUTO) else wanted
        with self._lock:
            found = self._members.get(name)
            if found is None:
                known = ", ".join([AUTO, *self._members])
                raise Problem(404, "No such model", f"model must be one of {known}, got {name[:80]!r}", "model")
            return found
