"""Which side of the split each photograph falls on: all views and copies of one scene on the same."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.core.seeds import derive
from srfoundry.data import near_duplicates, sources
from srfoundry.data.settings import Source, Split
from srfoundry.imaging import images

SPLITS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class Collection:
    """Photographs that can be used, and how they are split.

    Attributes:
        gathered: the photographs by name, and why others were left out.
        scenes: the scene of each.
        parts: names of train, validation and held_out.
    """

    gathered: sources.Gathered
    scenes: dict[str, str]
    parts: dict[str, list[str]]

    def part(self, name: str) -> dict[str, sources.Photograph]:
        """The photographs of one part, by name."""
        return {one: self.gathered.photographs[one] for one in self.parts[name]}

    def alike(self) -> list[list[tuple[str, Path]]]:
        """Names and files of the photographs that share a scene, by scene."""
        return [[(name, self.gathered.photographs[name].source) for name in names] for names in together(self.scenes)]

    def figures(self) -> dict[str, Any]:
        """What metrics.json says of them."""
        return {
            "photographs": self.parts,
            "counts": {part: len(names) for part, names in self.parts.items()},
            "skipped": self.gathered.skipped,
            "one_scene": together(self.scenes),
        }


def collect(
    source: Source, wanted: Split, root: Path, *, seed: int, mapped: Map, keep: Path | None = None
) -> Collection:
    """List, read and split the photographs of a source.

    Args:
        source: where they come from.
        wanted: which are not trained on.
        root: folder of the project.
        seed: of what shares draw.
        mapped: how to go through the files; the result is the same for any.
        keep: folder for the decoded pixels; None keeps none.

    Raises:
        FoundryError: there is no photograph, one that cannot be used where that stops, or an impossible split.
    """
    paths = sources.listed(source, root)
    check_names(paths, wanted)
    gathered = sources.gather(paths, source, mapped=mapped, keep=keep)
    labels = scenes(gathered.photographs)
    return Collection(gathered, labels, deal(list(labels), wanted, seed=seed, scenes=labels))


def scenes(photographs: Mapping[str, sources.Photograph]) -> dict[str, str]:
    """Give every photograph its scene: near-duplicates share one, as do the known views of one (`images.SCENES`).

    A scene is called after its first member; known ones keep their name unless a copy's comes before it.
    """
    scene = {name: images.SCENES.get(name, name) for name in sorted(photographs)}
    for group in near_duplicates.groups({name: one.likeness for name, one in photographs.items()}):
        merged = {scene[name] for name in group}
        if len(merged) > 1:
            scene = {name: min(merged) if label in merged else label for name, label in scene.items()}
    return scene


def together(scenes: Mapping[str, str]) -> list[list[str]]:
    """List the groups of names that share a scene, and so a side of the split."""
    groups: dict[str, list[str]] = {}
    for name, scene in scenes.items():
        groups.setdefault(scene, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def deal(
    names: Sequence[str], wanted: Split, *, seed: int, scenes: Mapping[str, str] = images.SCENES
) -> dict[str, list[str]]:
    """Deal photographs into train, validation and held_out; those of one scene stay together.

    By shares, a scene is trained on where any of its members alone would be: a copy that arrives later moves no
    photograph that a model has learned from into what that model is judged on.

    Args:
        names: of the photographs.
        wanted: which are not trained on.
        seed: of what shares draw.
        scenes: scene of each name; one that is not there is a scene of its own.

    Raises:
        FoundryError: a name is unknown, two names put a scene on two sides, or nothing is left to train on.
    """
    choices = asdict(wanted)
    scene = {name: scenes.get(name, name) for name in names}
    _check_names(choices, scene)
    dealt: dict[str, list[str]] = {}
    free = sorted(names)
    members: dict[str, set[str]] = {}
    for name in free:
        members.setdefault(scene[name], set()).add(images.SCENES.get(name, name))
    start = 0.0
    for part, choice in choices.items():
        if isinstance(choice, (int, float)):
            taken = _drawn({scene[name]: members[scene[name]] for name in free}, start, choice, seed)
            start += choice
        else:
            taken = {scene[name] for name in choice}
        dealt[part] = [name for name in free if scene[name] in taken]
        free = [name for name in free if scene[name] not in taken]
        if not dealt[part]:
            raise FoundryError(f"no photograph is left for synthesize.{part}; name others than the other parts do")
    if not free:
        raise FoundryError(f"no photograph is left to train on, of {len(names)}; add some or hold out fewer")
    return {"train": free, **dealt}


def check_names(paths: Sequence[tuple[str, Path]], wanted: Split) -> None:
    """Raise FoundryError where a part names what is not listed: before the files are read, which takes long."""
    _check_names(asdict(wanted), {sources.named(shown): sources.named(shown) for shown, _ in paths})


def _drawn(labels: Mapping[str, Set[str]], start: float, share: float, seed: int) -> set[str]:
    """Scenes whose place in [0, 1) lies within the share that begins at `start`, or else the one that comes next.

    The place is that of the member farthest on, where training is.
    """
    place = {label: max(derive(seed, "split", one) for one in members) / 2**63 for label, members in labels.items()}
    inside = {label for label in labels if start <= place[label] < start + share}
    return inside or set(sorted(labels, key=lambda label: (place[label] - start) % 1.0)[:1])


def _check_names(wanted: Mapping[str, Sequence[str] | float], scene: Mapping[str, str]) -> None:
    """Raise FoundryError where a part names a photograph that is not there, or a scene that another part names."""
    placed: dict[str, tuple[str, str]] = {}
    for part, choice in wanted.items():
        for name in [] if isinstance(choice, (int, float)) else choice:
            if name not in scene:
                raise FoundryError(
                    f"synthesize.{part} names {name!r}, which is not among the {len(scene)} photographs; "
                    "name files without suffix, or give a share such as 0.1"
                )
            other, first = placed.setdefault(scene[name], (part, name))
            if other != part and first == name:
                raise FoundryError(f"synthesize.{other} and synthesize.{part} both name {name!r}; take it out of one")
            if other != part:
                raise FoundryError(
                    f"synthesize.{other} names {first!r} and synthesize.{part} names {name!r}, which are "
                    "near-duplicates or views of one scene; name both in one part, or remove one of the files"
                )
