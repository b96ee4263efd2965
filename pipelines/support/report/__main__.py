"""Write the report of a run: one file that opens anywhere, and that MLflow carries.

    python -m pipelines.support.report       writes results/report.html and shows the key figures

`make repro` ends with it. It reads what stages wrote and runs each exported model a few times; no stage waits for it.
"""

import argparse
import sys
from pathlib import Path

from pipelines.support import server
from pipelines.support.place import Place
from pipelines.support.program import answering
from pipelines.support.report import summary
from pipelines.support.report.collecting import collected
from pipelines.support.telemetry import tracked
from srfoundry.config import params as params_file
from srfoundry.config.params import Params
from srfoundry.core.atomic import write_bytes
from srfoundry.core.compute import settle
from srfoundry.reporting.run.page import rendered

FILE = "results/report.html"


def main() -> None:
    """Write it, hand it to MLflow, and print the summary."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    root = Path.cwd()
    server.prepare_environment(root)
    with answering():
        params = params_file.load(root / "params.yaml")
        write(root, params)
        sys.stdout.write(summary.text(root, FILE) + "\n")


def write(root: Path, params: Params) -> Path:
    """Write the report of what stands in the project's folder, and hand it to MLflow."""
    import torch

    settle(params.shared.threads, "float32", torch.device("cpu"))
    path = root / FILE
    write_bytes(path, rendered(collected(root, params)).encode())
    with tracked("report", Place.of(root), params, key="", digests={}) as run:
        run.picture(path)
    return path


if __name__ == "__main__":
    main()
