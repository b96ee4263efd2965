"""What an installation with some extras of pyproject.toml has, and which files of this one it would lack."""

import tomllib
from importlib import metadata
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml says of the base and of these extras, those that they are made of among them."""
    lines = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    found = [Requirement(line) for each in lines for line in each]
    own = [each for each in found if each.name == PROJECT["name"]]
    others = [each for each in found if each not in own]
    return others + [inner for each in own for inner in declared(*each.extras)]


def distributions(*extras: str) -> set[str]:
    """All distributions that come with extras, as far as what is installed here says what it needs."""
    seen: dict[str, set[str]] = {}
    waiting = [(canonicalize_name(each.name), set(each.extras)) for each in declared(*extras)]
    while waiting:
        name, wished = waiting.pop()
        if name in seen and wished <= seen[name]:
            continue
        seen[name] = seen.get(name, set()) | wished
        try:
            listed = [Requirement(line) for line in metadata.distribution(name).requires or []]
        except metadata.PackageNotFoundError:
            continue
        wanted = [
            each
            for each in listed
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *wished))
        ]
        waiting += [(canonicalize_name(each.name), set(each.extras)) for each in wanted]
    return set(seen)


def lacking(names: set[str]) -> list[str]:
    """Absolute paths of the modules, and folders of them, that only other distributions than the named have."""
    kept, others = set[str](), set[str]()
    for each in metadata.distributions():
        found = {str(each.locate_file(file)) for file in each.files or [] if file.suffix in (".py", ".so")}
        (kept if canonicalize_name(each.name) in names else others).update(found)
    shared = {str(parent) for file in kept for parent in PurePath(file).parents}
    roots = set[str]()
    for file in others - kept:
        path = Path(file)
        while str(path.parent) not in shared:
            path = path.parent
        roots.add(str(path))
    return sorted(roots)
