"""Valid images, params and graphs, and how each is made hostile; with them all kinds of files.

Damage knows the format: a YAML's values become those that no key takes, a safetensors header and an ONNX graph lie
about shapes, an archive's members leave its folder. One half of all is damaged byte by byte besides or instead.
"""

import random
from collections.abc import Callable
from pathlib import Path

from benchmarks import _hostile
from benchmarks._hostile_kernels import kernels
from benchmarks._hostile_models import models
from benchmarks._hostile_seeds import Seed, garbled

REPO = Path(__file__).resolve().parent.parent
WORDS = (
    *("null", "true", "~", "''", ".nan", ".inf", "-.inf", "1e999", "-1", "0", "1e-320", "9" * 400, "0x10", "1_000"),
    *("[]", "{}", "[[[]]]", "{a: {b: {}}}", "2020-01-01", "!!binary aGk=", "!!set {a}", "!!python/name:os.system"),
    *(
        "*loop",
        "&loop [*loop]",
        "&loop {a: *loop}",
        "'\\x00'",
        "'../../x'",
        "'\u202e\U0001f4a3'",
        "'" + "x" * 5000 + "'",
    ),
    *("/etc/passwd", "'${shared.seed}'", "|\n  text", "!!float x", "? [a]\n: b", "!include x", "[1, .nan, a, {}]"),
    *("12:30:45", "0o17", "+.5e+3", "1.", "'\ud7ff\ufeff'", "- a\n - b", "<<", "@", "%", "\t1", "18446744073709551616"),
)


def images() -> list[Seed]:
    """Pictures of every kind; each twentieth goes through the whole command."""
    corpus = [(name, bytes(data)) for name, data in _hostile.valid()]

    def change(data: bytes, rng: random.Random) -> bytes:
        return _hostile.damaged(data, rng.choice(corpus)[1], rng)

    whole = [Seed(name, "picture", data, change) for name, data in corpus]
    return [*whole, *(Seed(one.name, "picture_by_program", one.data, change) for one in whole[:: len(whole) // 4])]


def values() -> list[Seed]:
    """params.yaml of the project, four times for each dvc.yaml."""
    plain = "".join(f"{line.partition(' #')[0].rstrip()}\n" for line in (REPO / "params.yaml").read_text().splitlines())
    short = "\n".join(line for line in plain.splitlines() if line.strip() and line.strip()[0] != "#") + "\n"
    params = Seed("params.yaml", "values", short.encode(), rewritten)
    graph = Seed("dvc.yaml", "graph", (REPO / "dvc.yaml").read_bytes(), rewritten)
    return [*([params] * 4), graph]


def rewritten(data: bytes, rng: random.Random) -> bytes:
    """YAML with values of other kinds, keys twice or misspelt, lines moved, anchors that multiply."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match rng.randrange(9):
            case 0 | 1 | 2 | 3 if colon:
                lines[at] = f"{key}: {rng.choice(WORDS)}"
            case 4:
                lines.insert(at, lines[at])
            case 5:
                strange = rng.choice(("x", " ", ".", chr(0x301), chr(7), ": {", " #"))
                lines[at] = f"{key}{strange}{colon} 1"
            case 6:
                lines[at] = " " * rng.randrange(12) + lines[at].strip()
            case 7:
                rows = [
                    f"bomb{n}: &bomb{n} [{', '.join([f'*bomb{n - 1}' if n else 'x'] * 9)}]"
                    for n in range(rng.choice((3, 12)))
                ]
                lines[0:0] = rows
                lines[at] = f"{key}: *bomb{len(rows) - 1}"
            case _:
                lines[at] = f"{key}: {rng.choice('[{')}" * rng.choice((1, 30, 3000))
    made = "\n".join(lines).encode("utf-8", "surrogatepass")
    return garbled(made, rng) if rng.random() < 0.2 else made


KINDS: dict[str, Callable[[], list[Seed]]] = {"images": images, "params": values, "models": models, "kernels": kernels}
