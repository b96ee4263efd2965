"""The commands that the documents show, run as a reader runs them, in a copy of the repository."""

import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import REPO

BLOCK = re.compile(r"^```(sh|python|yaml) (run|set=\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: str, heading: str) -> str:
    """The first block of shell commands below a heading of a page."""
    below = (REPO / page).read_text().partition(f"{heading}\n")[2]
    found = re.search(r"^```sh\n(.*?)^```", below, re.MULTILINE | re.DOTALL)
    assert found, f"{page}: no commands below {heading}"
    return found[1]


def environment_in(root: Path) -> None:
    """Give a copy of the repository this installation as its .venv, with the mark of a finished set-up."""
    venv = root / ".venv"
    venv.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        (root / name).write_bytes((REPO / name).read_bytes())
    for script in (REPO / "scripts").glob("*.sh"):
        (root / "scripts" / script.name).write_bytes(script.read_bytes())
    described = (root / "pyproject.toml").read_text().partition("[tool.ruff]")[0]
    (venv / "installed.pipeline.lock").write_text((root / "requirements.lock").read_text() + described)


def follow(page: str, root: Path, environment: dict[str, str]) -> list[str]:
    """Do in `root` what the page's blocks say, one after another; returns the commands that were run.

    A command that is there a second time is not run again: it stands for the same minutes under other values.
    """
    seen = list[str]()
    for language, how, text in BLOCK.findall((REPO / page).read_text()):
        if language == "yaml":
            change(root / "params.yaml", how.partition("=")[2], text)
        elif language == "python":
            run([sys.executable, "-c", text], root, environment)
        else:
            lines = [line.partition("  #")[0].strip() for line in text.splitlines()]
            new = [line for line in lines if line not in seen]
            run(["bash", "-euc", "\n".join(new)], root, environment)
            seen += new
    return seen


def change(params: Path, section: str, text: str) -> None:
    """Write values into a section of a params file, as a reader does in an editor."""
    whole, values = YAML(typ="safe").load(params.read_text()), YAML(typ="safe").load(text)
    assert set(values) <= set(whole[section]), f"{section} has no {set(values) - set(whole[section])}"
    whole[section].update(values)
    with params.open("w") as file:
        YAML().dump(whole, file)


def run(command: list[str], root: Path, environment: dict[str, str]) -> None:
    """Run a command; what it said is shown where it fails."""
    done = subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def answers(command: list[str], root: Path, environment: dict[str, str], url: str) -> bytes:
    """What an address says while a command runs that is ended then."""
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as made:
        try:
            for _ in range(600):
                try:
                    with urllib.request.urlopen(url, timeout=5) as reply:
                        return reply.read()
                except OSError:
                    assert made.poll() is None, made.stderr.read().decode() if made.stderr else ""
                    time.sleep(0.2)
            raise AssertionError(f"{url} did not answer")
        finally:
            made.terminate()
