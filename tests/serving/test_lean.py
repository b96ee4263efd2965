"""The server needs neither PyTorch nor MLflow: what `pip install 'srfoundry[cpu,serve]'` brings is enough."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import served
from tests.conftest import REPO
from tests.extras import distributions, lacking

PROGRAM = """
import sys
from srfoundry.serving.service import Service
from srfoundry.serving.settings import Serving
from srfoundry.serving.app import application
from srfoundry.serving import running
with Service(Serving(sys.argv[1], 1, "cpu")) as service:
    assert application(service) and service.family.find(None).name == "pruned"
heavy = {"torch", "mlflow", "scipy", "matplotlib", "pandas"} & set(sys.modules)
assert not heavy, heavy
try:
    service.restorers.check()
except Exception as error:
    print(error.status, error.detail)
"""


def test_the_server_starts_with_its_extra_alone(tmp_path: Path) -> None:
    (tmp_path / "pruned.onnx").write_bytes(served.model())
    absent = tmp_path / "absent.json"
    absent.write_text(json.dumps(lacking(distributions("cpu", "gpu", "serve"))))
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)],
        env={
            "PYTHONPATH": f"{REPO / 'src'}{os.pathsep}{REPO / 'tests/pipelines/loaded'}",
            "SRFOUNDRY_LACKING": str(absent),
            "OMP_NUM_THREADS": "1",
        },
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("501 ") and "srfoundry[train]" in done.stdout
