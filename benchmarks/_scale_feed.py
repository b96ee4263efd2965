"""Feeding the trainers: how quickly photographs are prepared, and how long a training step waits for its batch.

python -m benchmarks._scale_feed --count 1000

`prepare_speedup`: synthetic photographs of 2 megapixels, JPEG and PNG by turns, examined for near-duplicates and
written as a set, over the way it was done at first: decoded once to be examined and once more to be written, all in
floats, and reduced tap by tap. Both go through the same files in portions, one after the other, on all cores, and must
write the same bytes; time is the clock's, `prepare_speedup_processor` of the processors alone (on a machine that does
other work too, the steadier one).
`loader_wait_share`: of the steps of stage `dual` at the values of params.yaml on one thread, the share of the time in
which the trainer waits for its batch.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from srfoundry.config.params import load
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.parallel import threads
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.data import near_duplicates, prepare, sources
from srfoundry.data.settings import Source
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import loss_of
from srfoundry.imaging import decoding, images, resize
from srfoundry.imaging.patches import Patches, crop_to_multiple
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.prefetch import fed

SIZE = (1224, 1632)  # pixels of a photograph: 2 megapixels
GRAIN = ((6, 60), (24, 30), (96, 16), (384, 8))  # rows and strength, 255 grey levels, of what a photograph is made of
PORTION = 50  # photographs that lie on the disk at a time
FACTORS = [1, 2]
STEPS = 60
SOURCE = Source(source="folder", folder=".", archives=[], on_bad_image="stop", smallest=32)


@dataclass(frozen=True)
class Former:
    """A photograph that is decoded anew each time."""

    path: Path
    height: int
    width: int


def figures(count: int = 200) -> dict[str, Any]:
    """The figures that this part contributes.

    Args:
        count: photographs that are prepared, in each way.
    """
    return {**prepared(count), **waited()}


def prepared(count: int) -> dict[str, Any]:
    """How much quicker photographs are prepared, and how often each is decoded."""
    spent: dict[str, list[tuple[float, float]]] = {"former": [], "now": []}
    decodings = {"former": 0, "now": 0}
    for first in range(0, count, PORTION):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            paths = [_photograph(folder / "in", first + index) for index in range(min(PORTION, count - first))]
            for way, run in (("former", _formerly), ("now", _now)):
                with mock.patch.object(decoding, "decode", wraps=decoding.decode) as decode:
                    spent[way].append(_timed(partial(run, folder / way, paths)))
                decodings[way] += decode.call_count
            for factor in FACTORS:
                file = f"x{factor}.bin"
                assert (folder / "former" / file).read_bytes() == (folder / "now" / file).read_bytes()
    clock, processor = ({way: sum(each[kind] for each in spent[way]) for way in spent} for kind in (0, 1))
    return {
        "prepare_speedup": round(clock["former"] / clock["now"], 2),
        "prepare_speedup_processor": round(processor["former"] / processor["now"], 2),
        "prepare_seconds": {way: round(value, 1) for way, value in clock.items()},
        "prepare_processor_seconds": {way: round(value, 1) for way, value in processor.items()},
        "prepare_photographs": count,
        "prepare_decodings": {way: round(value / count, 2) for way, value in decodings.items()},
    }


def waited() -> dict[str, Any]:
    """The share of a training step of stage `dual` that is spent waiting for its batch, on one thread of a CPU."""
    params, before = load(Path("params.yaml")), torch.get_num_threads()
    torch.set_num_threads(1)
    chosen, scale, cpu = params.dual, params.shared.scale, torch.device("cpu")
    net, duals = (build(arch) for arch in chosen.archs(scale))
    redraw(net, generator(1, "net"))
    redraw(duals, generator(1, "duals"))
    ARCHITECTURES[chosen.network].start_at_bicubic(net)
    net = channels_last(net, cpu)
    loss = loss_of(duals, scale=scale, weights=chosen.weights, compute=Compute(cpu))
    optimisation = Optimisation(net, duals, chosen.descent, fused=True)
    with tempfile.TemporaryDirectory() as name:
        found = sources.gather([(path.name, path) for path in images.bundled()], SOURCE, mapped=threads())
        prepare.prepare(Path(name), found.photographs, FACTORS, mapped=threads())
        batches = Batches(patches=Patches.open(Path(name)), draws=chosen.draw, scale=scale, stream=Stream(1, "dual"))
        alone, batch = [_timed(partial(batches, index))[1] for index in range(STEPS)], fed(batches, cpu)
        waits, steps, used = list[float](), list[float](), list[float]()
        for index in range(STEPS):
            began, processor = time.perf_counter(), time.thread_time()
            images_ = batch(index)
            waits.append(time.perf_counter() - began)
            optimisation.update(loss(net, images_), chosen.descent.learning_rate)
            steps.append(time.perf_counter() - began)
            used.append(time.thread_time() - processor)
    torch.set_num_threads(before)
    return {
        "loader_wait_share": round(sum(waits[5:]) / sum(steps[5:]), 4),
        "loader_batch_ms": round(1e3 * statistics.median(alone), 2),
        "loader_step_ms": round(1e3 * statistics.median(used[5:]), 1),
        "loader_ahead": batch is not batches,
    }


def _now(folder: Path, paths: list[Path]) -> None:
    """As stage `synthesize` does it."""
    kept = folder / "kept"
    found = sources.gather([(path.name, path) for path in paths], SOURCE, mapped=threads(), keep=kept)
    prepare.prepare(folder, found.photographs, FACTORS, mapped=threads())


def _formerly(folder: Path, paths: list[Path]) -> None:
    """Two passes that each decode, in floats; 8-bit reductions tap by tap."""
    with mock.patch.object(resize, "LARGE", sys.maxsize):
        found = dict(zip([path.stem for path in paths], threads()(_examined, paths, "examining"), strict=True))
        places, ends = list[tuple[Path, dict[int, int]]](), dict.fromkeys(FACTORS, 0)
        for photograph in found.values():
            places.append((photograph.path, dict(ends)))
            for factor in FACTORS:
                ends[factor] += 3 * (photograph.height // factor) * (photograph.width // factor)
        folder.mkdir()
        for factor, size in ends.items():
            with (folder / f"x{factor}.bin").open("wb") as file:
                file.truncate(size)
        for _ in threads()(partial(_written, folder), places, "writing"):
            pass


def _examined(path: Path) -> Former:
    image = images.read(path)
    high, wide = image.shape[-2:]
    rows, columns = near_duplicates._cosines(high), near_duplicates._cosines(wide)
    signs = rows @ images.matlab_luma(image)[0, 0].double().numpy() @ columns.T > near_duplicates.FLAT
    np.packbits(signs).tobytes().hex()
    return Former(path, high, wide)


def _written(folder: Path, place: tuple[Path, Mapping[int, int]]) -> None:
    path, offsets = place
    levels = torch.floor(crop_to_multiple(images.read(path), max(FACTORS)) * 255 + 0.5).to(torch.uint8)
    for factor, offset in offsets.items():
        reduced = levels if factor == 1 else resize.cubic_uint8(levels, 1 / factor)
        with (folder / f"x{factor}.bin").open("rb+") as file:
            file.seek(offset)
            file.write(reduced[0].permute(1, 2, 0).contiguous().numpy().tobytes())


def _photograph(folder: Path, index: int) -> Path:
    """A picture of random spots of all sizes, with a little noise; odd ones as PNG."""
    folder.mkdir(exist_ok=True)
    rng, (high, wide) = np.random.default_rng(index), SIZE
    whole = np.full((high, wide, 3), 120.0, dtype=np.float32)
    for rows, strength in GRAIN:
        spots = rng.standard_normal((rows, rows * 4 // 3, 3)).astype(np.float32) * strength
        for colour in range(3):
            plane = Image.fromarray(spots[..., colour]).resize((wide, high), Image.Resampling.BICUBIC)
            whole[..., colour] += np.asarray(plane)
    whole += 2 * rng.standard_normal((high, wide, 1)).astype(np.float32)
    picture = Image.fromarray(whole.clip(0, 255).astype(np.uint8))
    path = folder / (f"{index}.png" if index % 2 else f"{index}.jpg")
    picture.save(path, quality=90)  # of a JPEG; a PNG has none
    return path


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    began, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - processor


def main() -> None:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="photographs that are prepared, in each way")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(figures(options.count), indent=1) + "\n")


if __name__ == "__main__":
    main()
