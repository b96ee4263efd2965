"""The page at /docs: the interface's own description (OpenAPI) as plain HTML, which loads nothing from elsewhere."""

import json
from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow:auto;padding:.7rem;border:1px solid #8884}"
    "table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}"
    "section{border-top:1px solid #8886;margin-top:1.5rem}b.method{display:inline-block;min-width:4.5rem}"
)


def page(description: dict[str, Any]) -> str:
    """The page of an OpenAPI description."""
    info = description["info"]
    parts = [f"<h1>{escape(info['title'])}</h1>", _text(info["description"])]
    parts.append("<p>The same for programs: <a href='openapi.json'>openapi.json</a></p>")
    for path, methods in description["paths"].items():
        parts += [_operation(path, method, said, description) for method, said in methods.items()]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><style>{STYLE}</style>"
    title = f"<title>{escape(info['title'])}</title>"
    return f"<!doctype html><html lang='en'><head>{head}{title}</head><body>{''.join(parts)}</body></html>"


def _operation(path: str, method: str, said: dict[str, Any], whole: dict[str, Any]) -> str:
    rows = [
        (each["name"], each["in"], each.get("description", "") or each["schema"].get("description", ""))
        for each in said.get("parameters", [])
    ]
    body = said.get("requestBody", {}).get("description")
    if body:
        rows.append(("body", "", body))
    answers = [(status, "", answer.get("description", "")) for status, answer in said.get("responses", {}).items()]
    shown = _example(said, whole)
    example = f"<pre>{escape(shown)}</pre>" if shown else ""
    title = f"<h2><code><b class='method'>{method.upper()}</b> {escape(path)}</code></h2>"
    return f"<section>{title}{_text(said.get('description', ''))}{_table(rows)}{_table(answers)}{example}</section>"


def _example(said: dict[str, Any], whole: dict[str, Any]) -> str:
    """An example of the JSON that an operation answers, where it does."""
    for answer in said.get("responses", {}).values():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        name = (schema.get("$ref") or schema.get("items", {}).get("$ref") or "").rpartition("/")[2]
        found = whole.get("components", {}).get("schemas", {}).get(name)
        if found:
            values = {key: _value(each) for key, each in found["properties"].items()}
            return json.dumps([values] if schema.get("type") == "array" else values, indent=2)
    return ""


def _value(schema: dict[str, Any]) -> Any:
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    return schema.get("default", True if schema.get("type") == "boolean" else None)


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows)
    return f"<table>{cells}</table>" if rows else ""


def _text(markdown: str) -> str:
    """Paragraphs; what is indented is code."""
    return "".join(
        f"<pre>{escape(part.strip())}</pre>" if part.startswith("    ") else f"<p>{escape(part)}</p>"
        for part in markdown.split("\n\n")
        if part.strip()
    )
