"""What `dual` and `photo` share beside the recipe: what it works on, and how the dense network is saved."""

from functools import partial
from pathlib import Path
from typing import Any

from pipelines.support.stage import Stage
from srfoundry.dual_regression.recipe import Dense, trained_for
from srfoundry.dual_regression.settings import DenseTraining
from srfoundry.imaging.patches import Patches
from srfoundry.networks.zoo import cards


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
    save = partial(cards.save, scale=stage.scale, made_by=stage.name, params_hash=stage.params_hash)
    said = trained_for(how.degradation, made.duals)
    save(stage.output(path), made.net, arch=dict(how.arch), metrics={**made.scores, **said})
    save(stage.output(duals), made.duals, arch=dict(how.dual_arch))
    stage.curve(made.history)
    stage.metrics(made.scores)
