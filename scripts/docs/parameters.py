"""The page Parameters: every value of params.yaml with its type, range, default and comment."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from scripts.docs.figures import ROOT
from srfoundry.config.params import Params
from srfoundry.config.section import Section

INTRODUCTION = """# Parameters

Every value of the factory stands in `params.yaml`, with unit and source; this page is made from that file and from the
types that check it. An unknown key, a missing one or a value out of range stops everything before any work, and is
named. Change a value and run `dvc repro`: only what depends on it runs again. Sets of values that belong together are
[presets](your_own_data.md#presets).

The columns: the key, the value that the repository holds, what is allowed, and what it is. Where a paper has another
value, it stands in brackets.
"""


def page() -> str:
    """The whole page."""
    values = YAML().load((ROOT / "params.yaml").read_text())
    parts = [INTRODUCTION]
    for name, info in Params.model_fields.items():
        section: Any = info.annotation
        parts += [
            f"## {name}",
            str(section.__doc__).splitlines()[0],
            "| key | value | allowed | what |\n|---|---|---|---|",
        ]
        parts[-1] += "".join(f"\n| {' | '.join(row)} |" for row in _rows(values[name], dict(types(section))))
    return "\n\n".join(parts) + "\n"


def types(section: type[Section]) -> Iterator[tuple[str, Any]]:
    """Each key of a section of params.yaml with the annotated type of its value."""
    hints = get_type_hints(section, include_extras=True)
    inlined = section.inlined()
    for name, info in section.model_fields.items():
        if name in inlined:
            inner = get_type_hints(info.annotation, include_extras=True)
            yield from ((key, inner[field]) for key, field in inlined[name].items())
        else:
            yield name, hints[name]


def _rows(values: Any, kinds: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    for key, value in values.items():
        comment = _comment(values, key)
        if isinstance(value, Mapping):
            hints = get_type_hints(kinds[key], include_extras=True) if hasattr(kinds[key], "__annotations__") else {}
            yield [f"`{prefix}{key}`", "", "", comment]
            yield from _rows(value, {inner: hints.get(inner) for inner in value}, f"{prefix}{key}.")
        else:
            allowed = described(kinds[key]) if kinds.get(key) is not None else ""
            yield [f"`{prefix}{key}`", f"`{_short(value)}`", allowed, comment]


def _comment(values: Any, key: str) -> str:
    found = values.ca.items.get(key)
    tokens = [token for token in found or [] if token] if found else []
    text = tokens[0].value if tokens and not isinstance(tokens[0], list) else ""
    return text.partition("\n")[0].lstrip("# ").strip().replace("|", "\\|")


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return f"{len(value)} entries"
    if isinstance(value, list):
        return "[" + ", ".join(_short(each) for each in value) + "]"
    return str(value)


def described(kind: Any) -> str:
    """A type with its range in a few words, from pydantic's own schema."""
    schema = TypeAdapter(kind).json_schema()
    return _words(schema, schema.get("$defs", {}))


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _words(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema or "const" in schema:
        return " \\| ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return ", or ".join(_words(each, defs) for each in schema["anyOf"])
    if "prefixItems" in schema:
        return "[" + ", ".join(_words(each, defs) for each in schema["prefixItems"]) + "]"
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true \\| false"}
    if schema.get("type") == "array":
        return f"list of: {_words(schema.get('items', {}), defs)}"
    signs = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
        "multipleOf": "multiple of",
    }
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return ", ".join([names.get(str(schema.get("type")), str(schema.get("title", ""))), *bounds])


def presets() -> str:
    """A table of the files in params/: name, and the first sentence of each."""
    rows = []
    for path in sorted(Path(ROOT / "params").glob("*.yaml")):
        first = next(line for line in path.read_text().splitlines() if line.startswith("#"))
        rows.append(f"| `{path.stem}` | {first.lstrip('# ')} |")
    return "\n".join(["| preset | what |", "|---|---|", *rows])
