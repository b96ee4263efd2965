"""Every path of the project on one GPU, once, on small budgets, and the benchmarks' rows for it: `make gpu`.

python -m benchmarks.gpu                     in under 25 minutes; benchmarks/results/gpu.json and gpu.md
python -m benchmarks.gpu --device cpu        the same course in small, to try the course itself; writes nothing there
python -m benchmarks.gpu --only dual onnx    some parts, which need those before them

Each part is a process of its own (benchmarks._gpu_parts): all stages with deterministic algorithms in warning mode, so
that what has no fixed order is named and not fatal; bfloat16; the same bytes twice; CUDA graphs; torch.compile; ONNX
Runtime's provider against the CPU's; the server; a training step against the authors'. A part that fails, or takes too
long, stops no other: the report says which, and why.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import _gpu_parts, table
from srfoundry.core.errors import FoundryError

MINUTES = 25  # that the course may take
LONGEST = 300  # seconds of one part
LINES = 12  # of what a failed part said last


def course(
    folder: Path, device: str, parts: Sequence[str], seconds: float = 60.0 * MINUTES
) -> dict[str, dict[str, Any]]:
    """Run the parts one after another.

    Args:
        folder: an empty one, which becomes a project's.
        device: cuda or cpu.
        parts: names of `_gpu_parts.PARTS`.
        seconds: after which no part is begun.

    Returns:
        Of each part `ok`, its `seconds`, and its `figures`, or `why` it failed.
    """
    _gpu_parts.prepare(folder, device)
    until, found = time.monotonic() + seconds, dict[str, dict[str, Any]]()
    for name in parts:
        began = time.monotonic()
        found[name] = _one(name, folder, device, min(LONGEST, until - began))
        found[name]["seconds"] = round(time.monotonic() - began, 1)
        state = "ok" if found[name]["ok"] else f"FAILED: {found[name]['why'].splitlines()[-1]}"
        sys.stdout.write(f"{name:20s} {found[name]['seconds']:7.1f} s  {state}\n")
        sys.stdout.flush()
    return found


def _one(name: str, folder: Path, device: str, patience: float) -> dict[str, Any]:
    if patience <= 0:
        return {"ok": False, "why": "no time was left for it"}
    command = [sys.executable, "-m", "benchmarks._gpu_parts", name, str(folder), device]
    try:
        done = subprocess.run(
            command,
            cwd=_gpu_parts.REPO,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "why": f"it took more than {patience:.0f} s"}
    if done.returncode:
        said = done.stderr.replace("\r", "\n").strip().splitlines() or ["it said nothing"]
        return {"ok": False, "why": "\n".join(said[-LINES:])}
    return {"ok": True, "figures": json.loads(done.stdout.strip().splitlines()[-1])}


def _environment() -> dict[str, str]:

    paths = [str(_gpu_parts.REPO / "src"), str(_gpu_parts.REPO), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def about(device: str) -> dict[str, Any]:
    """The machine, the GPU's driver, and the versions that matter."""
    import torch

    found = {**table.machine(torch.get_num_threads()), "system": platform.platform()}
    if device == "cpu":
        return found
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        said = "nvidia-smi does not answer"
    return found | {"device": said, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def summary(report: Mapping[str, Any]) -> str:
    """The report for people, in Markdown."""
    machine, parts = report["machine"], report["parts"]
    failed = [name for name, part in parts.items() if not part["ok"]]
    lines = [
        "# One GPU, every path once",
        "",
        f"{machine.get('device') or machine['cpu']}; PyTorch {machine['torch']}, CUDA {machine.get('cuda')}, "
        f"ONNX Runtime {machine['onnxruntime']}, Python {machine['python']}.",
        f"{len(parts) - len(failed)} of {len(parts)} parts in {report['minutes']:.1f} minutes"
        + (f"; failed: {', '.join(failed)}." if failed else "."),
        "",
        "| part | seconds | |",
        "|---|---|---|",
    ]
    for name, part in parts.items():
        said = "ok" if part["ok"] else "failed: " + part["why"].splitlines()[-1].replace("|", "/")
        lines.append(f"| {name} | {part['seconds']} | {said} |")
    loose = {each for part in parts.values() if part["ok"] for each in _loose(part["figures"])}
    lines += ["", "Without a deterministic form: " + (", ".join(sorted(loose)) or "nothing") + "."]
    return "\n".join(lines) + "\n"


def _loose(figures: Mapping[str, Any]) -> list[str]:
    own = list(figures.get("not_deterministic", []))
    return own + [each for inner in figures.values() if isinstance(inner, dict) for each in _loose(inner)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the course and write its report.

    Raises:
        FoundryError: there is no GPU.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the course itself (cuda)")
    parser.add_argument("--only", nargs="+", choices=list(_gpu_parts.PARTS), default=list(_gpu_parts.PARTS))
    parser.add_argument("--out", type=Path, help="folder of the report (cuda: benchmarks/results; cpu: it is printed)")
    options = parser.parse_args(arguments)
    from srfoundry.core.compute import chosen_device

    try:
        chosen_device(options.device)
    except FoundryError:
        raise FoundryError("make gpu needs a GPU that torch can use, got none; nothing was run") from None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="srfoundry-gpu-") as folder:
        parts = course(Path(folder), options.device, options.only)
    minutes = round((time.monotonic() - began) / 60, 2)
    report = {"machine": about(options.device), "minutes": minutes, "parts": parts}
    target = options.out or (table.RESULTS if options.device == "cuda" else None)
    text = summary(report)
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        (target / "gpu.json").write_text(json.dumps(report, indent=2) + "\n")
        (target / "gpu.md").write_text(text)
    sys.stdout.write("\n" + text)
    if not all(part["ok"] for part in parts.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    table.run(main)
