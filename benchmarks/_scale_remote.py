"""Does a team's set-up carry a whole graph? The tests' tiny one, through real programs on this machine.

PostgreSQL, MLflow's server and Prefect's on it, a Prefect worker and a DVC remote behind SSH (`--store s3`: that and
MLflow's artefacts in buckets) are started; the factory
is deployed and asked for by `prefect deployment run`. `remote_graph_ends` says whether that run completed and every
stage's run and every member of the family stand in MLflow, `remote_seconds` how long it took from the request to the
last result in DVC's remote. Then the project is cloned, `dvc pull` fetches the bytes, and `pull_stages_run` counts the
stages that `dvc repro` runs there (0 is wanted; `environment`, which looks at what is installed, always runs and does
not count).

    python -m benchmarks._scale_remote --store s3
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._remote_graph import RemoteGraph, here
from benchmarks._remote_programs import Programs, missing
from tests import tiny_graph

LATE = 120.0  # seconds after the run in which telemetry may still arrive


def figures(store: str = "ssh") -> dict[str, Any]:
    """The figures, or why there are none on this machine."""
    if lacks := missing(store):
        return {"remote_graph_ends": None, "remote_missing": lacks}
    with tempfile.TemporaryDirectory(prefix="srfoundry-scale-") as folder, Programs(here(), store) as programs:
        graph = RemoteGraph(programs, tiny_graph.make(Path(folder) / "project"), here())
        graph.publish()
        began = time.perf_counter()
        state = graph.work()
        took = time.perf_counter() - began
        whole = state == "COMPLETED" and tiny_graph.arrived(programs.mlflow, LATE)
        graph.commit("results")
        ran = graph.clone(Path(folder) / "clone") if whole else []
    return {
        "remote_graph_ends": whole,
        "remote_seconds": round(took, 1),
        "pull_stages_run": len(ran) if whole else None,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["ssh", "s3"], default="ssh", help="where DVC's remote lies")
    print(json.dumps(figures(parser.parse_args().store), indent=2))
