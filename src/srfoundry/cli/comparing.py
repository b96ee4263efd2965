"""The command `compare`: what a model gives back of photographs that were made small."""

import argparse
import sys
from typing import Any

from srfoundry.cli.commands import load_model, say
from srfoundry.core.errors import FoundryError


def compare(options: argparse.Namespace) -> int:
    """Make photographs small, enlarge them with the model, and draw the two beside the original."""
    import torch

    from srfoundry.cli import batch
    from srfoundry.cli.plan import Job, Plan, claim
    from srfoundry.imaging import formats, images, resize
    from srfoundry.reporting import pictures

    place = options.out
    target = place.path / "before_after.png" if place.folder else place.path
    formats.format_of(target)
    claim([target], options.images, existing=options.existing)
    upscaler = load_model(options)
    rows, errors = [], []

    def row(job: Job) -> Any:
        high = images.read(job.source)
        height, width = (extent // upscaler.scale * upscaler.scale for extent in high.shape[-2:])
        if not height * width:
            raise FoundryError(f"{job.source} is smaller than the scale {upscaler.scale}; take a larger photograph")
        high = high[..., :height, :width]
        # The model sees what a file would hold: 8 bits.
        low = images.from_uint8(images.to_uint8(resize.cubic(high, 1 / upscaler.scale)))
        return low, {"srfoundry": torch.from_numpy(upscaler.floats(low))}, high, None

    planned = Plan([Job(path, target) for path in options.images], len(options.images) > 1)
    for job in planned.jobs:
        _, made, error = batch.attempt(job, row, batch=planned.batch, advice="run smaller tiles with --tile")
        if error is None:
            rows.append(made)
        elif planned.batch:
            errors.append(error)
            sys.stderr.write(f"error: {error}\n")
        else:
            raise error
    if rows:
        _, _, error = batch.attempt(planned.jobs[0], lambda _: pictures.hero(target, rows), batch=False)
        if error is not None:
            raise error
        say(str(target))
    return batch.failed(errors, planned)
