"""`make accept`: comments and docstrings are taken into dvc.lock without a run, anything else is refused by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.support.accept import accept, digest, program
from srfoundry.core.errors import FoundryError

CODE = '"""What it is."""\n\n\ndef double(value):\n    """Twice."""\n    return 2 * value  # exact\n'


def run(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One stage whose code is a folder and a file, run and committed."""
    root = tmp_path / "project"
    (root / "src" / "inner").mkdir(parents=True)
    (root / "pipelines").mkdir()
    (root / "src" / "double.py").write_text(CODE)
    (root / "src" / "inner" / "note.py").write_text("NOTE = 1\n")
    (root / "pipelines" / "work.py").write_text("import shutil\nshutil.copy('data.txt', 'out.txt')\n")
    (root / "data.txt").write_text("data")
    (root / "params.yaml").write_text("work: {steps: 1}\n")
    stage = {"cmd": f"{sys.executable} pipelines/work.py", "params": ["work"], "outs": ["out.txt"]}
    stage["deps"] = ["pipelines/work.py", "src", "data.txt"]
    with (root / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": {"work": stage}}, file)
    (root / "graphs" / "aside").mkdir(parents=True)  # never run: no affair of the graph's
    with (root / "graphs" / "aside" / "dvc.yaml").open("w") as file:
        aside = {"cmd": "true", "deps": ["../../data.txt"], "outs": ["never.txt"]}
        YAML().dump({"stages": {"aside": aside}}, file)
    (root / ".dvcignore").write_text("__pycache__\n")
    run(root, "git", "init", "-q")
    for name, value in (("user.name", "Somebody"), ("user.email", "somebody@example.org")):
        run(root, "git", "config", name, value)
    run(root, sys.executable, "-m", "dvc", "init", "-q")
    run(root, sys.executable, "-m", "dvc", "config", "core.analytics", "false")
    run(root, sys.executable, "-m", "dvc", "repro", "-q")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "One")
    return root


def up_to_date(root: Path) -> bool:
    return not json.loads(
        run(root, sys.executable, "-m", "dvc", "status", "--json", "dvc.yaml").strip().splitlines()[-1]
    )


def test_only_what_no_run_can_see_is_accepted(project: Path) -> None:
    """One project for all cases: starting DVC takes seconds."""
    assert accept(project) == []
    (project / "src" / "double.py").write_text(CODE.replace("Twice.", "Two times the value.").replace("# exact", "#"))
    (project / "src" / "inner" / "note.py").write_text("# why\nNOTE = 1\n")
    (project / "pipelines" / "work.py").write_text("import shutil  # quick\n\nshutil.copy('data.txt', 'out.txt')\n")
    assert not up_to_date(project)
    assert accept(project) == ["work"]
    assert up_to_date(project)
    run(project, "git", "commit", "-qam", "Two")
    for change, reason in (
        (lambda: (project / "src" / "double.py").write_text(CODE.replace("2 *", "3 *")), "program in src/double.py"),
        (lambda: (project / "src" / "more.py").write_text("MORE = 1\n"), "gained src/more.py"),
        (lambda: (project / "data.txt").write_text("other"), "data.txt is no code"),
        (lambda: (project / "params.yaml").write_text("work: {steps: 2}\n"), "params.yaml is no code"),
    ):
        run(project, "git", "checkout", "-q", ".")
        run(project, "git", "clean", "-fdq")
        change()
        before = (project / "dvc.lock").read_bytes()
        with pytest.raises(FoundryError, match=f"{reason}.* \\(for work\\); run: dvc repro"):
            accept(project)
        assert (project / "dvc.lock").read_bytes() == before


def test_a_program_is_its_syntax_tree() -> None:
    """Docstrings, comments and layout go; a string that is used stays."""
    assert program(b'def f():\n    """A."""\n    return 1\n') == program(b"def f():\n    return 1 # B\n")
    assert program(b"A = 'a'\n") != program(b"A = 'b'\n")
    assert program(b'def f():\n    """A."""\n') == program(b"def f():\n    pass\n")
    assert program(b"x = 1\ny = 2\n") != program(b"y = 2\nx = 1\n")


def test_digests_are_dvcs(project: Path) -> None:
    """Else no recorded code would ever be found."""
    lock = YAML(typ="safe").load((project / "dvc.lock").read_text())["stages"]["work"]["deps"]
    known = {each["path"]: each["md5"] for each in lock}
    code = project / "src"
    files = {path.relative_to(code).as_posix(): path.read_bytes() for path in code.rglob("*.py")}
    assert digest(files) == known["src"]
    assert digest({"": (project / "data.txt").read_bytes()}) == known["data.txt"]
