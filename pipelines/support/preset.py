"""Write presets from params/ into params.yaml, several in order; no stage: `dvc repro` then runs what is stale.

A preset is a small params.yaml with only the values that it changes. Comments in params.yaml stay, since they hold for
any value.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.support import forecast
from pipelines.support.graph import Graph
from pipelines.support.program import answering
from srfoundry.config import params as params_file
from srfoundry.config import yaml_files
from srfoundry.config.params import Params
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError

DEFAULT = "default"  # the values in git: they are kept there only


def apply(names: Sequence[str], root: Path) -> list[str]:
    """Write presets into `root`/params.yaml, later ones over earlier ones; return one line a changed value.

    Raises:
        FoundryError: no preset of that name, or values that params.yaml may not have; then nothing is written.
    """
    if DEFAULT in names:
        raise FoundryError("preset default is what git holds; run 'git checkout params.yaml'")
    wanted = {keys: (value, name) for name in names for keys, value in _values(_read(name, root))}
    new, text = _with({keys: value for keys, (value, _) in wanted.items()}, root, "preset " + " ".join(names))
    if new:
        write_bytes(root / "params.yaml", text)
    return [f"{'.'.join(keys)}: {_plain(wanted[keys][0])}  ({wanted[keys][1]})" for keys in new]


def changed(values: Mapping[str, Any], root: Path) -> bytes:
    """What `root`/params.yaml would be with these values; nothing is written.

    Args:
        values: by their names there, such as `dual.steps`.
        root: of the project.

    Raises:
        FoundryError: values that params.yaml may not have.
    """
    wanted = {tuple(name.split(".")): value for name, value in values.items()}
    return _with(wanted, root, "the run's values")[1]


def titles(root: Path) -> dict[str, str]:
    """The presets' names and what their first line says."""
    found = sorted((root / "params").glob("*.yaml"))
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in found}


def _with(wanted: Mapping[tuple[str, ...], Any], root: Path, source: str) -> tuple[list[tuple[str, ...]], bytes]:
    """Which of these values params.yaml has otherwise, and its text with them, once all are checked."""
    path = root / "params.yaml"
    params_file.load(path)
    before = path.read_bytes()
    whole = _yaml().load(before.decode("utf-8"))
    new = [keys for keys, value in wanted.items() if _set(whole, keys, value)]
    params_file.check(_plain(whole), source)
    text = io.StringIO()
    _yaml().dump(whole, text)
    return new, text.getvalue().encode() if new else before


def _read(name: str, root: Path) -> Any:
    path = root / "params" / f"{name}.yaml"
    if not path.is_file():
        raise FoundryError(f"preset {name} not found in params/; choose from {', '.join(titles(root)) or 'none'}")
    yaml_files.read(path)  # checks it
    read = _yaml().load(path.read_text(encoding="utf-8"))
    if not isinstance(read, dict) or not all(isinstance(section, dict) for section in read.values()):
        raise FoundryError(f"{path} must hold sections of params.yaml with values in them, got something else; mend it")
    return read


def _values(section: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in section.items():
        keys = (*above, str(key))
        if isinstance(value, dict):
            yield from _values(value, keys)
        else:
            yield keys, value


def _set(whole: Any, keys: tuple[str, ...], value: Any) -> bool:
    """Set a value, in sections that are made where there are none (the check then names them); whether it changed."""
    *above, last = keys
    for key in above:
        if not isinstance(whole.get(key), dict):
            whole[key] = {}
        whole = whole[key]
    if last in whole and whole[last] == value and type(_plain(whole[last])) is type(_plain(value)):
        return False
    whole[last] = value
    return True


def _yaml() -> YAML:
    """Round trip in the layout of params.yaml."""
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _plain(value: Any) -> Any:
    """ruamel's values as Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)


def _time(params: Params, root: Path) -> str:
    """What `make repro` would take if all were stale; MZSR's presets are for more photographs and a GPU."""
    graph = Graph(root)
    parents = {name: graph.parents(name) for name in graph.order()}
    seconds, count = forecast.seconds(params, list(parents)), forecast.jobs(params)
    total = forecast.in_words(forecast.whole(parents, seconds, count))
    return f"make repro takes about {total} here, if all of it has to run"


def main(arguments: Sequence[str] | None = None) -> None:
    """List the presets, or write some."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.support.preset", description=__doc__)
    parser.add_argument("names", nargs="*", help="presets in order; none lists them")
    names, root = parser.parse_args(arguments).names, Path.cwd()
    with answering():
        lines = apply(names, root) if names else [f"{name:12s} {title}" for name, title in titles(root).items()]
        if names:
            lines.append(_time(params_file.load(root / "params.yaml"), root))
            back = "git checkout params.yaml brings the repository's back"
            changed = len(lines) - 1
            lines.append(
                f"params.yaml: {changed} values changed; {back}" if changed else "params.yaml: nothing to change"
            )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
