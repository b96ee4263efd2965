"""Ctrl-C to commands as a person starts them: how long until they have ended, and what they say.

Each is a process of its own, interrupted at a random moment from its first import to its end, as a terminal does it:
the whole group is sent SIGINT.
"""

import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import _survival_runs as runs
from benchmarks._survival_journal import kept
from benchmarks._survival_project import Finished
from benchmarks._survival_runs import Disturbance, Ended

COMMAND = "command"  # a row's kind
START = 0.15  # seconds in which Python itself starts: no program can answer there
SIDE = 768  # pixels of the image that takes long


def commands(photograph: Path) -> dict[str, tuple[list[str], float]]:
    """By name: the words after `python -m`, and seconds within which it is interrupted."""
    cli = "srfoundry.cli.program"
    return {
        "dvc repro": (["dvc", "repro", "--force", "dual"], 20.0),
        "dvc status": (["dvc", "status"], 6.0),
        "reproduce": (["pipelines.support.reproduce"], 15.0),
        "environment": (["pipelines.environment"], 2.0),
        "training": (["pipelines.dual"], 10.0),
        "evaluation": (["pipelines.evaluate"], 15.0),
        "export": (["pipelines.export"], 20.0),
        "preset": (["pipelines.support.preset"], 2.0),
        "upscale": ([cli, "upscale", str(photograph), "--model", "exports/pruned.onnx"], 8.0),
        "restore": ([cli, "restore", str(photograph), "--model", "models/metatrain.safetensors"], 15.0),
        "serve": ([cli, "serve", "--port", "0", "--models", "exports"], 8.0),
        "import": ([cli, "import", "models/dual.safetensors", "--as", "edsr-x2"], 4.0),
        "info": ([cli, "info", "exports/pruned.onnx"], 2.0),
        "models": ([cli, "models"], 6.0),
    }


def interrupted(project: Finished, times: int, seed: int, done: dict[str, int]) -> Iterator[dict[str, Any]]:
    """A row for each interruption.

    Args:
        project: the finished one; each command works in a copy.
        times: that each command is interrupted.
        seed: of the moments.
        done: times that a command was interrupted already.
    """
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    for number in range(times):
        for name in commands(Path()):
            if done.get(name, 0) > number:
                continue
            with project.trial() as root:
                project.copy(root, "dual", former=True)
                Image.fromarray(pixels).save(root / "large.png")
                words, seconds = commands(root / "large.png")[name]
                moment = random.Random(f"{seed} {name} {number}").uniform(START, seconds)
                act = Disturbance(moment, runs.send(signal.SIGINT))
                command = [sys.executable, "-m", *words]
                ended = runs.start(command, root, project.environment(root), act, lambda: None)
                lost = [] if "repro" in name else project.harmed(root, "dual")  # DVC removes what it makes anew
            row = {"kind": COMMAND, "stage": name, "moment": moment, "code": ended.code, "lost": lost, "after": 0}
            row |= {"waited": round(ended.waited, 3), "named": quiet(ended)}
            yield row | kept(ended, bool(lost) or not quiet(ended))


def quiet(ended: Ended) -> bool:
    """Whether it ended without a traceback."""
    return not ended.hangs and "Traceback (most recent call last)" not in ended.said
