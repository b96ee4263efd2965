"""Programs of `pipelines`: an interruption is one line from the first import on, a refusal one sentence."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

STARTS = """
import os, sys, time
sys.argv[0] = "-m"  # as Python has it while it imports the package of a program
import {package}
os.kill(os.getpid(), {number})
time.sleep(5)
print("went on")
"""
WORKS = """
import os, sys
from pipelines.support.program import answering
with answering("stopped; all is well"):
    {body}
"""

PROGRAMS = sorted(
    ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__main__")
    for path in [REPO / "pipelines" / "environment.py", *(REPO / "pipelines" / "support").rglob("*.py")]
    if '__name__ == "__main__"' in path.read_text()
)


def run(text: str) -> tuple[int, str]:
    """Exit status and what was said of a program."""
    paths = {"PYTHONPATH": f"{REPO / 'src'}:{REPO}"}
    done = subprocess.run([sys.executable, "-c", text], env=paths, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["pipelines", "srfoundry.cli"])
@pytest.mark.parametrize(("number", "status"), [("2", 130), ("15", 143)])
def test_an_interruption_while_libraries_are_imported_is_one_line(package: str, number: str, status: int) -> None:
    assert run(STARTS.format(package=package, number=number)) == (status, "stopped; nothing had begun\n")


@pytest.mark.parametrize(("number", "status"), [("2", 130), ("15", 143)])
def test_an_interruption_of_work_is_one_line(number: str, status: int) -> None:
    body = f"os.kill(os.getpid(), {number}); [None for _ in iter(int, 1)]"
    assert run(WORKS.format(body=body)) == (status, "stopped; all is well\n")


@pytest.mark.parametrize(("number", "status"), [("2", 130), ("15", 143)])
def test_an_interruption_of_a_finaliser_is_not_lost(number: str, status: int) -> None:
    """Python raises nothing out of one: the work would go on, under a traceback."""
    body = f"""
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), {number})
    Finalised()
    [None for _ in iter(int, 1)]
"""
    assert run(WORKS.format(body=body)) == (status, "stopped; all is well\n")


@pytest.mark.parametrize("number", ["2", "15"])
def test_a_signal_while_libraries_end_changes_nothing(number: str) -> None:
    """What is registered before the work ends with it: the status stands, and nothing is said."""
    body = f"import atexit; atexit.register(os.kill, os.getpid(), {number})"
    assert run(WORKS.format(body=body)) == (0, "")


def test_what_the_system_refuses_is_one_sentence() -> None:
    body = f"raise OSError({errno.ENOSPC}, 'No space left on device', 'a.txt')"
    assert run(WORKS.format(body=body)) == (1, "error: a.txt: the disk is full; make room\n")


def test_a_fault_of_ours_shows_where() -> None:
    code, said = run(WORKS.format(body="raise ZeroDivisionError('ours')"))
    assert code == 1 and "Traceback" in said and "ours" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file without room")
@pytest.mark.parametrize(
    "words",
    [["-c", WORKS.format(body="raise FileNotFoundError(2, 'gone', 'x')")], ["-m", "srfoundry.cli", "card", "x"]],
)
def test_an_error_that_nothing_has_room_for_is_still_a_failure(words: list[str]) -> None:
    paths = {"PYTHONPATH": f"{REPO / 'src'}:{REPO}"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, *words], env=paths, stdout=full, stderr=full, check=False)
    assert done.returncode in (1, 120)  # the second where Python itself could not write at its end


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_given_and_nothing_done(program: str, tmp_path: Path) -> None:
    """In a folder that is no project, where any work would end badly or leave something behind."""
    paths = {"PYTHONPATH": f"{REPO / 'src'}:{REPO}"}
    command = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("usage: ") and done.stderr == "", done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
