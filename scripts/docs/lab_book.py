"""The lab book's list: every entry of docs/log by its title and the first sentence of its verdict, newest first."""

import re

from scripts.docs.figures import ROOT

FOLDER = ROOT / "docs" / "log"
ENTRY = re.compile(
    r"# (?P<title>[^\n]+)\n\n\*\*Verdict\*\*: (?P<verdict>.+?)\n\n\*(?P<date>\d{4}-\d\d-\d\d)\.\*\n", re.DOTALL
)
LONGEST = 120  # characters of a line of prose


def entries() -> str:
    """A table of all entries."""
    rows = []
    for path in sorted(FOLDER.glob("2*.md"), reverse=True):
        found = ENTRY.match(path.read_text())
        if found:
            verdict = " ".join(found["verdict"].split())
            first = re.split(r"(?<=[.;]) (?=[A-Z*])", verdict)[0].rstrip(";")
            rows.append(f"| {found['date']} | [{found['title']}]({path.name}) | {first} |")
    return "\n".join(["| date | entry | verdict |", "|---|---|---|", *rows])


def problems() -> list[str]:
    """Entries that do not begin with a title, a verdict and a date, or whose prose has long lines."""
    wrong = []
    for path in sorted(FOLDER.glob("2*.md")):
        name, text = f"docs/log/{path.name}", path.read_text()
        found = ENTRY.match(text)
        if found is None or not path.name.startswith(found["date"]):
            wrong.append(f"{name}: begin with `# title`, `**Verdict**: ...` and `*YYYY-MM-DD.*`, as the file's name")
        long = [n for n, line in enumerate(text.splitlines(), 1) if len(line) > LONGEST and not line.startswith("|")]
        wrong += [f"{name}:{n}: at most {LONGEST} characters" for n in long]
    return wrong
