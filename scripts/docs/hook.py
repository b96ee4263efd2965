"""MkDocs' hook: adds the pages that are made from the code, fills figures in, turns equations into MathML.

Everything is computed when the site is built; the pages load nothing from elsewhere.
"""

import html
import re
from typing import Any

import jinja2
import latex2mathml.converter
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from scripts.docs import benchmark_tables, commands, figures, interface, lab_book, parameters
from srfoundry.core.errors import FoundryError

GENERATED = {"parameters.md": parameters.page, "command_line.md": commands.page, "benchmarks.md": benchmark_tables.page}
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
FENCE = re.compile(r"^(```\w+) [^\n]+$", re.MULTILINE)  # what tests read behind a language
TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the generated pages."""
    made = {name: make() for name, make in GENERATED.items()} | interface.pages()
    made["changelog.md"] = (figures.ROOT / "CHANGELOG.md").read_text()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Fill in what a written page asks for: figures, tables, presets."""
    del config, files
    name = page.file.src_uri
    text = markdown if page.file.generated_by or name.startswith("log/2") else filled(markdown, name)
    return FENCE.sub(r"\1", text)


def filled(markdown: str, name: str) -> str:
    """A page with its figures.

    Raises:
        PluginError: it asks for what no file holds; the page is named.
    """
    try:
        return TEMPLATES.from_string(markdown).render(
            **figures.MACROS, presets=parameters.presets, entries=lab_book.entries
        )
    except (FoundryError, jinja2.TemplateError, ValueError, TypeError) as error:
        raise PluginError(f"docs/{name}: {error}") from error


def on_page_content(content: str, *, page: Any, config: Any, files: Files) -> str:
    """Equations as MathML, which browsers show by themselves."""
    del page, config, files
    return EQUATION.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    how = "block" if found[2] == "[" else "inline"
    return latex2mathml.converter.convert(html.unescape(found[3]).strip(), display=how)
