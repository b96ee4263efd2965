"""YAML files from people, read into plain values: of bounded size, depth and number, whatever aliases say."""

import copy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from srfoundry.core.errors import FoundryError

LARGEST = 2**20  # bytes; params.yaml has 23 thousand, a dvc.lock of fifty stages 50
MOST = 100_000  # values, those of an alias as often as it stands there: nine levels of nine would be 387 million
DEEPEST = 40  # levels
PLAIN = (str, bool, int, float, type(None))
REMEMBERED = 8  # texts: a stage reads params.yaml, dvc.yaml and dvc.lock four times, half a second for each round


class _TooMuch(Exception):
    """More than a file of this project holds; says how much."""


def read(path: Path) -> Any:
    """The file's value: mappings whose keys are strings, lists, strings, numbers, truth values and nulls.

    Raises:
        FoundryError: the file is missing or too large, is no YAML, or holds anything else or too much of it.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise FoundryError(f"{path} must be a YAML file of up to {LARGEST:,} bytes, got more; look at what it is")
        written = path.read_bytes()
        found = copy.deepcopy(_load(written.decode("utf-8")))
    except FoundryError:
        raise
    except _TooMuch as error:
        raise FoundryError(f"{path} {error}") from None
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; run from the project's folder or restore it from git") from None
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise FoundryError(f"{path} must be text in UTF-8, got other bytes in line {line}; save it as UTF-8") from None
    except YAMLError as error:
        raise FoundryError(f"{path} is not valid YAML: {_place(error)}; mend that line") from None
    except RecursionError:
        raise FoundryError(f"{path} is nested more than {DEEPEST} levels deep; write it flat") from None
    except OSError as error:
        raise FoundryError(f"{path} cannot be read ({error.strerror or error}); name a file") from None
    except Exception as error:  # ruamel's constructors answer strange values with whatever Python raised in them
        raise FoundryError(f"{path} holds a value that is none ({_brief(error)}); mend it") from None
    _check(found, path)
    return found


def laid_over(base: Any, given: Any) -> Any:
    """The values that are given; beside them, in mappings however deep, those of the base that they say nothing of."""
    if not (isinstance(base, dict) and isinstance(given, dict)):
        return given
    return {**base, **{key: laid_over(base.get(key), value) for key, value in given.items()}}


@lru_cache(REMEMBERED)
def _load(text: str) -> Any:
    """As YAML.load, but counted first: ruamel writes whole values into its errors, a bomb's with all its aliases."""
    yaml = YAML(typ="safe", pure=True)
    constructor, parser = yaml.get_constructor_parser(StringIO(text))
    try:
        node = constructor.composer.get_single_node()
        _count(node)
        return None if node is None else constructor.construct_document(node)
    finally:
        parser.dispose()


def _count(whole: Any) -> None:
    count, waiting = 0, [(whole, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST:
            raise _TooMuch(f"holds more than {MOST:,} values with its aliases written out; remove some")
        if depth > DEEPEST:
            raise _TooMuch(f"is nested more than {DEEPEST} levels deep; write it flat")
        if isinstance(node, SequenceNode):
            waiting += [(each, depth + 1) for each in node.value]
        elif isinstance(node, MappingNode):
            waiting += [(each, depth + 1) for pair in node.value for each in pair]


def _check(whole: Any, path: Path) -> None:
    waiting = [(whole, "it")]
    while waiting:
        value, name = waiting.pop()
        if isinstance(value, dict):
            strange = next((key for key in value if not isinstance(key, str)), None)
            if strange is not None:
                raise FoundryError(f"{path}: a key must be a word, got {_brief(strange)}; write it in quotation marks")
            waiting += [(each, key) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(each, name) for each in value]
        elif type(value) not in PLAIN:
            raise FoundryError(
                f"{path}: {_brief(name)} must be text, a number, true or false, or a list or mapping of such, got a "
                f"{type(value).__name__}; write text in quotation marks"
            )


def _place(error: YAMLError) -> str:
    """Where a text is no YAML and why, without what its reader says to programmers."""
    mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))  # of one that has a place
    return _brief(error) if mark is None else f"line {mark.line + 1}: {_brief(problem)}"


def _brief(value: Any) -> str:
    """One line of a value, whatever it is."""
    return " ".join(str(value).split())[:200]
