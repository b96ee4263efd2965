"""`make docs`: check words and numbers, then build the site into site/, strictly.

python -m scripts.docs             check, then build
python -m scripts.docs --write     bring the README's table up to date first
python -m scripts.docs --check     words and numbers alone
"""

import argparse
import os
import sys
import time
from pathlib import Path

from scripts.docs import lab_book, prose, readme
from scripts.docs.figures import ROOT

DATED = "docs/log/2"  # entries of the lab book say what was so on their day


def pages() -> list[Path]:
    """All documents that people read, the README among them."""
    return [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def problems() -> list[str]:
    """Every figure without a file, banned word and misspelling, with page and line."""
    found = []
    for path in pages():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        text = readme.without_table(text) if name == "README.md" else text
        if not name.startswith(DATED):
            found += [f"{name}:{each}: no file backs this figure" for each in prose.unbacked(text)]
        found += [f"{name}:{each}" for each in prose.banned(text)]
    return [*found, *prose.misspelt(pages()), *readme.problems(), *lab_book.problems()]


def main() -> int:
    """Returns the exit status: 0 built, 1 something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="bring the README's table up to date")
    parser.add_argument("--check", action="store_true", help="do not build")
    parser.add_argument("--out", default="site", help="folder to build into (default: %(default)s)")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.write:
        readme.write()
    if found := problems():
        sys.stderr.write("\n".join(found) + f"\nerror: {len(found)} problems in the documents; see above\n")
        return 1
    if not options.check:
        os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # pyproject.toml holds MkDocs below 2
        from mkdocs.__main__ import cli

        command = ["build", "--strict", "--quiet", "--clean", "--site-dir", options.out]
        cli(command, prog_name="mkdocs", standalone_mode=False)
        sys.stdout.write(f"{options.out}/index.html, {time.perf_counter() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
