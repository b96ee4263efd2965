"""The README's one table: written from the figures' files between two marks, and compared with them."""

import re

from scripts.docs.figures import ROOT, figure, where

PATH = ROOT / "README.md"
BLOCK = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)
ROWS = (  # what, file, path, form, unit
    ("dense network over bicubic, PSNR-Y", "firsthour", "dual_over_bicubic", "+.2f", "dB"),
    ("30 % of its parameters gone: against the dense one", "firsthour", "pruned_against_dense", "+.2f", "dB"),
    ("70 % gone: against the dense one", "firsthour", "pruned70_against_dense", "+.2f", "dB"),
    ("blur known: adapted to one image, over aligned bicubic", "firsthour", "mzsr_over_aligned_bicubic", "+.2f", "dB"),
    ("blur estimated from the image: the same", "firsthour", "mzsr_estimated_over_aligned_bicubic", "+.2f", "dB"),
    ("`srfoundry upscale` of 64x64 pixels, the whole process", "deploy", "startup_seconds", ".2f", "s"),
    ("packages that it needs", "deploy", "runtime_packages", "d", ""),
)
LONGEST, MOST = 120, 120  # characters of a line, lines


def table() -> str:
    """The table as the README has it."""
    lines = ["| x2, held-out photographs | measured | on |", "|---|---|---|"]
    lines += [
        f"| {title} | {figure(name, path, form, unit)} | {where(name)} |" for title, name, path, form, unit in ROWS
    ]
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write it into the README."""
    PATH.write_text(BLOCK.sub(lambda _: table(), PATH.read_text()))


def without_table(text: str) -> str:
    """The README's text without what is compared with data anyway; lines stay where they are."""
    return BLOCK.sub(lambda found: "\n" * found[0].count("\n"), text)


def problems() -> list[str]:
    """Where the table and the data disagree, and where the page is longer than a screen and a half."""
    text = PATH.read_text()
    lines = text.splitlines()
    found = BLOCK.search(text)
    wrong = []
    if found is None or found[0] != table():
        wrong.append("README.md: its table is not what benchmarks/results says; python -m scripts.docs --write")
    if len(lines) > MOST:
        wrong.append(f"README.md: at most {MOST} lines, got {len(lines)}")
    return wrong + [
        f"README.md:{n}: at most {LONGEST} characters, got {len(line)}"
        for n, line in enumerate(lines, 1)
        if len(line) > LONGEST
    ]
