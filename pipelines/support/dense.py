"""What `dual` and `photo` share beside the recipe: what it works on, and how the dense network is saved."""

from pathlib import Path
from typing import Any

from pipelines.support.networks import save
from pipelines.support.stage import Stage
from srfoundry.dual_regression.recipe import Dense, trained_for
from srfoundry.dual_regression.settings import DenseTraining
from srfoundry.imaging.patches import Patches


def given(stage: Stage) -> dict[str, Any]:
    """The stage's photographs, hardware, random numbers and state, by the recipe's names."""
    training, validation = (Patches.open(stage.input(f"data/synthesize/{name}")) for name in ("train", "validation"))
    return {
        "photographs": (training, validation),
        "unpaired": stage.root / stage.params.dual.unpaired,
        "compute": stage.compute,
        "stream": stage.stream,
        "resumption": stage.resumption,
    }


def save_dense(stage: Stage, how: DenseTraining, made: Dense, path: str) -> None:
    """Write the network and its dual map (NAME_nets) with their cards, the curve and the metrics."""
    duals = Path(path).with_stem(f"{Path(path).stem}_nets").as_posix()
    said = trained_for(how.degradation, made.duals)
    save(stage, path, made.net, how.arch, {**made.scores, **said})
    save(stage, duals, made.duals, how.dual_arch)
    stage.curve(made.history)
    stage.metrics(made.scores)
