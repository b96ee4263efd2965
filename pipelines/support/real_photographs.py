"""Real low-resolution photographs in the evaluation: without originals, NIQE and a picture say how they look."""

from collections.abc import Mapping

from torch import nn

from pipelines.support.inputs import BUNDLED
from pipelines.support.stage import Stage

SIDE = 192  # low-resolution pixels a side of the busiest window of each, which is enlarged: 16 blocks of NIQE's at x2
MOST = 12  # photographs of a folder, the first by name
SHOWN = {"pruned": "prune", "photo50": "photo_50"}  # a member for clean input and one for photographs


def look_at_real(stage: Stage, nets: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
    """Enlarge them by two members, write the picture, and return mean, median and worst NIQE by member.

    Args:
        stage: with `evaluate.real` in its values.
        nets: by their files' names, on the stage's device.
    """
    import torch

    from srfoundry.imaging import decoding, images, looks, windows
    from srfoundry.reporting.looks import sheet

    source = stage.params.evaluate.real
    paths = looks.free_photographs() if source == BUNDLED else decoding.find(stage.root / source)[:MOST]
    members = {name: nets[file] for name, file in SHOWN.items()}
    made = []
    with torch.inference_mode():
        for path in paths:
            image = images.read(path)
            low = windows.crop(image, windows.busiest(image, SIDE, energy="edges")).contiguous()
            made.append(looks.look(path.name, low.to(stage.device), members, stage.scale))
    scores = [each.scores() for each in made]
    picture = stage.output("results/evaluate/pictures/real.jpg")
    sheet(picture, made, scores)
    stage.picture("real photographs", picture)
    return looks.summary(scores)
