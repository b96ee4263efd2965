"""Is a model fit to be served, and how is it run best on this machine? Asked before the first request sees it.

A version is taken if its card is whole, it enlarges as its predecessor did, and a picture that is drawn here comes back
finite, of the right size and close to its bicubic enlargement: broken weights, swapped channels or another range of
values do not. Then it is timed in the ways in which it could be run.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import levels, tiling
from srfoundry.runtime.session import Session
from srfoundry.serving.batching import Plan
from srfoundry.serving.members import Loaded

SIDE = 96  # pixels of the picture that is enlarged
CLOSE = 20.0  # dB to bicubic: trained networks have 29 to 45, other orders of channels or ranges of values below 15
CPU, GPU = (2,), (2, 4, 8, 16)  # batches that are tried; a processor that gains nothing by 2 gains nothing by more
BETTER = 0.97  # of the time of one tile on all threads, or another plan is not worth it


def load(blob: bytes, version: str, *, threads: int, device: str, before: Loaded | None = None) -> Loaded:
    """Load a model and test it.

    Args:
        blob: the .onnx file.
        version: what it is called.
        threads: of the processor, for all requests.
        device: auto, cpu or cuda.
        before: the version that it replaces, whose plan it takes over: it is loaded while that one works.

    Raises:
        FoundryError: it is not fit to be served, and why.
    """
    widest = Session(blob, threads=threads, device=device, sharing=True)
    card = widest.card
    if card.channels != 3:
        raise FoundryError(f"a model must take 3 channels, got {card.channels}; serve one that enlarges photographs")
    if before is not None and card.scale != before.card.scale:
        raise FoundryError(
            f"it enlarges by {card.scale}, its predecessor by {before.card.scale}; give it another alias or restart"
        )
    tiling.check(card.tile, card.overlap)
    _judge(widest)
    if before is not None and before.plan.threads in before.sessions:
        plan, sessions = before.plan, {threads: widest}
        if plan.threads != threads:
            sessions[plan.threads] = Session(blob, threads=plan.threads, device=device, sharing=True)
        ratio = _effort(sessions[plan.threads]) / max(_effort(before.sessions[plan.threads]), 1e-9)
        return Loaded(version, card, len(blob), sessions, plan, before.seconds * ratio)
    plans = _plans(threads, widest.device)
    sessions = {
        each: Session(blob, threads=each, device=device, sharing=True)
        for each in {plan.threads for plan in plans} - {threads}
    }
    sessions[threads] = widest
    plan, seconds = _best(plans, sessions, threads)
    kept = {each: sessions[each] for each in {plan.threads, threads}}
    return Loaded(version, card, len(blob), kept, plan, seconds)


def picture(side: int = SIDE) -> Float[np.ndarray, "1 3 side side"]:
    """Slopes, edges, a disc and a texture, each channel its own: what a network must enlarge sensibly."""
    down, across = np.mgrid[0:side, 0:side].astype(np.float32) / side
    disc = ((across - 0.6) ** 2 + (down - 0.4) ** 2 < 0.04).astype(np.float32)
    texture = 0.05 * np.sin(40 * across) * np.sin(30 * down)
    red = 0.15 + 0.5 * across + 0.25 * disc + texture
    green = 0.25 + 0.4 * down - 0.1 * disc + texture
    blue = np.where(across + down > 1, 0.75, 0.35).astype(np.float32) + texture
    return np.stack([red, green, blue])[None].clip(0, 1).astype(np.float32)


def bicubic(low: Float[np.ndarray, "1 3 h w"], scale: int) -> Float[np.ndarray, "1 3 H W"]:
    """The picture, enlarged without a network (Pillow's bicubic, 8 bits)."""
    height, width = low.shape[2:]
    made = Image.fromarray(levels.to_levels(low)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return levels.to_floats(np.asarray(made))


def _judge(session: Session) -> None:
    low = picture()
    restored = session.run(low)
    expected = (1, 3, SIDE * session.scale, SIDE * session.scale)
    if restored.shape != expected:
        raise FoundryError(f"its result must be of the shape {expected}, got {restored.shape}; do not serve it")
    if not np.isfinite(restored).all():
        raise FoundryError("its result holds numbers that are not finite; do not serve it")
    error = float(np.mean(np.square(restored - bicubic(low, session.scale), dtype=np.float64)))
    close = -10 * np.log10(max(error, 1e-12))
    if close < CLOSE:
        raise FoundryError(
            f"its result must be within {CLOSE:g} dB of bicubic on the test picture, got {close:.1f} dB: broken "
            "weights, or other values or channels than its card says; do not serve it"
        )


def _plans(threads: int, device: str) -> list[Plan]:
    """What is tried: one tile on all threads, batches, and runs side by side on fewer threads each."""
    plans = [Plan(threads, batch) for batch in (1, *(GPU if device in ("cuda", "tensorrt") else CPU))]
    if device == "cpu":
        plans += [Plan(each, 1) for each in (1, 2, 4) if each < threads and threads % each == 0]
    return plans


def _best(plans: Sequence[Plan], sessions: dict[int, Session], threads: int) -> tuple[Plan, float]:
    """The quickest plan, and its seconds for a megapixel of input; the first of them unless another is clearly so."""
    low, most = picture(), 2 * max(threads, *(plan.batch for plan in plans))

    def seconds(plan: Plan) -> float:
        session, count = sessions[plan.threads], max(plan.batch, threads // plan.threads)
        stacked = np.repeat(low, plan.batch, axis=0)
        turns = [stacked] * (count // plan.batch)
        with ThreadPoolExecutor(threads // plan.threads) as side_by_side:

            def all_of_them() -> None:
                list(side_by_side.map(session.run, turns))

            all_of_them()  # the first run of a size plans its memory
            repeats = max(2, most // count)
            return min(_timed(all_of_them) for _ in range(repeats)) / (count * SIDE * SIDE / 1e6)

    found = [(seconds(plan), plan) for plan in plans]
    first, least = found[0], min(found, key=lambda each: each[0])
    best = least if least[0] < BETTER * first[0] else first
    return best[1], best[0]


def _effort(session: Session) -> float:
    """Seconds of this thread for the picture: they do not count what other requests take."""
    low = picture()
    return min(_timed(lambda: session.run(low), time.thread_time) for _ in range(3))


def _timed(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    action()
    return clock() - began
