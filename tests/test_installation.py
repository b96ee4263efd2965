"""What set-up leaves behind works as its users reach for it."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import REPO


@pytest.mark.parametrize("path", [os.defpath, None], ids=["bare", "unset"])
def test_programs_find_the_python_beside_them_without_activation(tmp_path: Path, path: str | None) -> None:
    """`.venv/bin/dvc repro` runs `python -m pipelines.STAGE`: with that environment's python, whatever PATH says."""
    venv.create(tmp_path / "an environment", with_pip=False, symlinks=True)
    home = tmp_path / "an environment"
    ask = [str(home / "bin" / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(REPO / "scripts" / "beside.pth", site)
    inner = "import subprocess; print(subprocess.run('python -c \"import sys; print(sys.prefix)\"', shell=True))"
    environment = {} if path is None else {"PATH": path}
    done = subprocess.run([ask[0], "-c", inner], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == str(home), done.stderr
    assert sys.executable != str(home / "bin" / "python")
