"""The solver's second home: beamforming, where its results can be held against what is known.

Not a stage that `dvc repro` runs by itself: `dvc repro graphs/beamform/dvc.yaml` does.
"""

from typing import Any

from pipelines.support.stage import Stage, main


def beamform(stage: Stage) -> None:
    """Solve random channels by LAGD's forms, WMMSE, RZF and MRT: sum rate against SNR and against steps (LAGD)."""
    from functools import partial

    import torch

    from srfoundry.core.progress import track
    from srfoundry.core.state import kept
    from srfoundry.reporting.beamforming import rates_picture
    from srfoundry.solver.beamforming import precoders

    chosen, snr = stage.params.beamform, stage.params.beamform.snr
    draw, rng = chosen.channels, stage.stream.rng("channels")
    channels = precoders.rayleigh(draw.instances, draw.users, draw.antennas, rng=rng).to(stage.device)
    weights = torch.tensor(draw.weights) if draw.weights else None
    scores: dict[str, dict[str, float]] = {}
    curves: dict[str, list[float]] = {}
    for index, ratio in enumerate(track(snr, stage.name), start=1):
        given = precoders.downlink(channels, power=10 ** (ratio / 10), weights=weights)
        path = stage.checkpoint.with_suffix("") / f"{ratio:g}.pt"
        found = kept(path, stage.key, partial(_compared, given, chosen.effort, stage.stream))
        scores[f"{ratio:g}"], curves = found["scores"], found["curves"]
        stage.log(index, scores[f"{ratio:g}"])
    lines = {name: (snr, [each[name] for each in scores.values()]) for name in next(iter(scores.values()))}
    last = {name: (range(1, len(curve) + 1), curve) for name, curve in curves.items()}
    path, steps = stage.output(f"results/{stage.name}/rates.png"), f"steps at {snr[-1]:g} dB"
    rates_picture(path, {"SNR, dB": lines, steps: last}, logarithmic=[steps])
    stage.picture("rates", path)
    stage.metrics({"rate": scores})


def _compared(*given: Any) -> dict[str, Any]:
    """The methods at one ratio of power to noise, as they are kept."""
    from srfoundry.solver.beamforming.comparison import compare

    return dict(zip(("scores", "curves"), compare(*given), strict=True))


if __name__ == "__main__":
    main(beamform)
