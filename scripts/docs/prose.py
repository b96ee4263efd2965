"""The documents' words and numbers: no figure that no file backs, no word that makes a person of a program."""

import re
from pathlib import Path

BANNED = {  # pattern: what to write instead
    r"\bhears?\b|\bheard\b": "reads, receives, is conditioned on",
    r"\btells?\b|\btold\b": "says (of text), gives, states, is given",
    r"\bsounds?\b": "seems, reads as",
    r"\bhouse\b(?!s?\b-)": "project, factory, program",
    r"\bnobody knows\b|\bnobody tells\b": "unknown",
    r"\b(?:networks?|nets?|models?|programs?|correctors?|USRNet|MZSR) (?:knows?|believes?|thinks?|wants?)\b": (
        "is trained on, is conditioned on, assumes, requires"
    ),
    r"\b(?:MLflow|DVC|Prefect|git|stages?|members?|layers?|files?|pages?) (?:knows?|believes?|thinks?|wants?)\b": (
        "has, takes, assumes, requires"
    ),
    r"\b(?:teach(?:es)?|taught)\b": "train, trained",
    r"\b(?:networks?|nets?|models?|steps?|process(?:es)?|programs?) sees?\b": "is trained on, reads, is given",
    r"\bfeels?\b|\bunderstands?\b": "reads, models",
    r"\bsimply\b|\bobviously\b|\bof course\b": "nothing",
}
UNIT = r"(?:dB|%|ms|s|min|minutes?|seconds?|hours?|days?|times)"
MEASURED = re.compile(
    rf"(?<![\w.,-])[+-]?\d[\d,]*(?:\.\d+)?(?: ?{UNIT}(?![\w-])|(?<=\.\d\d) of (?=the |its |that |[\w ]+ time))"
)
CELL = re.compile(r"^\**[+-]?\d+\.\d+(?:e-?\d+)?\**$")
HIDDEN = (  # what is no prose: front matter, code, placeholders, comments, targets of links
    re.compile(r"\A---\n.*?\n---\n", re.DOTALL),
    re.compile(r"^( *)(```|~~~).*?^\1\2[^\n]*$", re.MULTILINE | re.DOTALL),
    re.compile(r"\$\$.*?\$\$", re.DOTALL),
    re.compile(r"\{\{.*?\}\}", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"``.+?``|`[^`\n]*`"),
    re.compile(r"\$[^$\n]+\$"),
    re.compile(r"(?<=\])\([^)\n]*\)"),
)


def plain(text: str) -> str:
    """The prose of a page alone; its lines stay where they are."""
    for pattern in HIDDEN:
        text = pattern.sub(lambda found: re.sub(r"[^\n]", "\x00", found[0]), text)
    return text


def unbacked(text: str) -> list[str]:
    """Numbers with a unit of quality or time, and cells of tables that are a decimal number: each with its line."""
    found = []
    for number, line in enumerate(plain(text).splitlines(), 1):
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.lstrip().startswith("|") else []
        wrong = [*(match[0] for match in MEASURED.finditer(line)), *(cell for cell in cells if CELL.match(cell))]
        found += [f"{number}: {each}" for each in wrong]
    return found


def banned(text: str) -> list[str]:
    """Banned words with their lines and what to write instead."""
    return [
        f"{number}: {match[0]!r}: {instead}"
        for number, line in enumerate(plain(text).splitlines(), 1)
        for pattern, instead in BANNED.items()
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]


def misspelt(paths: list[Path]) -> list[str]:
    """What codespell finds."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", "ans,fo,te,nd,ths,hist", *map(str, paths)]
    return subprocess.run(command, text=True, capture_output=True).stdout.splitlines()
