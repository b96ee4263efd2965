"""DVC's remote, beside a run: what the team added to inputs/ comes from there, results go there; it may be away."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from pipelines.support.dvc_runs import busy, complaint, dvc, killed, lines
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted

PACKAGE = re.compile(r"requires '(dvc-(\w+))' to be installed")
EXTRAS = ("ssh", "s3")  # of srfoundry, by the remote's kind
NONE = "no remote specified"


def pull_inputs(root: Path, say: Callable[[str], None]) -> None:
    """Bring what the .dvc files of inputs/ name: `dvc.yaml` does not know them, so no stage pulls it.

    Args:
        root: the project's folder.
        say: takes each line.

    Raises:
        FoundryError: it is not here, and does not come.
    """
    added = [path.relative_to(root).as_posix() for path in sorted((root / "inputs").glob("*.dvc"))]
    if not added:
        return
    code, said = _run(root, "pull", *added)
    if not code:
        say(f"{', '.join(added)}: {said[-1] if said else 'up to date'}")
        return
    done = subprocess.run(dvc("status", "--json", *added), cwd=root, capture_output=True, text=True, check=False)
    if done.returncode or json.loads(done.stdout.strip().splitlines()[-1]):
        raise FoundryError(f"what {', '.join(added)} names is not here, and dvc pull failed: {reason(root, said)}")
    say(f"{reason(root, said)}; what {', '.join(added)} names is here")


def push(root: Path, say: Callable[[str], None]) -> None:
    """Send what the stages wrote, and the notes of what was run; where no remote is set, say that.

    Args:
        root: the project's folder.
        say: takes each line.

    Raises:
        FoundryError: it did not arrive.
    """
    code, said = _run(root, "push", "--run-cache")
    if code and any(NONE in line for line in said):
        say("DVC has no remote, the results are here alone; dvc remote add --default NAME ADDRESS")
    elif code:
        raise FoundryError(f"dvc push failed: {reason(root, said)}; the results are here, push them later")


def blamed(said: list[str]) -> bool:
    """Whether DVC failed before a stage's command did: with `--pull`, at its remote."""
    return not killed(said) and not busy(said) and not any(": failed to run: " in line for line in said)


def reason(root: Path, said: list[str]) -> str:
    """Why DVC failed at its remote, which is named, and which package it lacks, from what it said."""
    listed = subprocess.run(dvc("config", "--list"), cwd=root, capture_output=True, text=True, check=False).stdout
    known = {key: value for key, _, value in (line.partition("=") for line in listed.splitlines())}
    name = known.get("core.remote", "none")
    name = f"{name} {known.get(f'remote.{name}.url', '')}".strip()
    missing = PACKAGE.search("\n".join(said))
    if not missing:
        return redacted(f"DVC's remote ({name}): {complaint(said)}")
    wanted = f"'srfoundry[{missing[2]}]'" if missing[2] in EXTRAS else missing[1]
    return redacted(f"DVC's remote ({name}) needs a package: pip install {wanted}")


def _run(root: Path, *words: str) -> tuple[int, list[str]]:
    said: list[str] = []
    for line, code in lines(dvc(*words), root, dict(os.environ)):
        if code is not None:
            return code, said
        said.append(line)
    return 1, said
