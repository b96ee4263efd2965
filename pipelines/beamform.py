"""The solver's second home: beamforming, where its results can be held against what is known.

Not a stage that `dvc repro` runs by itself: `dvc repro beamform/dvc.yaml` does.
"""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from srfoundry.reporting.beamforming import Line


def beamform(stage: Stage) -> None:
    """Solve random channels by LAGD's forms, WMMSE, RZF and MRT: sum rate against SNR and against steps (LAGD)."""
    import torch

    from srfoundry.core.progress import track
    from srfoundry.core.seeds import generator
    from srfoundry.reporting.beamforming import rates_picture
    from srfoundry.solver.beamforming import lagd, precoders

    chosen = stage.params.beamform
    rng = generator(stage.seed, stage.name, "channels")
    channels = precoders.rayleigh(chosen.instances, chosen.users, chosen.antennas, rng=rng).to(stage.device)
    weights = torch.tensor(chosen.weights) if chosen.weights else None
    scores: dict[str, dict[str, float]] = {}
    last: dict[str, Line] = {}
    for index, ratio in enumerate(track(chosen.snr, stage.name), start=1):
        given = precoders.task(channels, power=10 ** (ratio / 10), weights=weights)
        means = {"mrt": precoders.mrt(given), "rzf": precoders.rzf(given)}
        rates = {name: float(precoders.rate(given, found).mean()) for name, found in means.items()}
        curves: dict[str, list[float]] = {}
        for name, method in (("wmmse", precoders.wmmse), ("folded", precoders.folded)):
            curves[name] = precoders.course(given, method, precoders.mrt(given), iterations=chosen.iterations)
        for form in chosen.forms:
            found = lagd.beams(
                given,
                form,
                rng=generator(stage.seed, stage.name, form),
                kind=chosen.network,
                steps=chosen.steps,
                restarts=chosen.restarts if form == "best" else 1,
            )
            rates[form] = float(found.rates.mean())
            if form != "best":  # whose steps are of several kinds
                curves[form] = found.trajectory.mean(dim=1).tolist()
        scores[f"{ratio:g}"] = {name: curve[-1] for name, curve in curves.items()} | rates
        last = {name: (range(1, len(curve) + 1), curve) for name, curve in curves.items()}
        stage.log(index, scores[f"{ratio:g}"])
    lines = {name: (chosen.snr, [each[name] for each in scores.values()]) for name in next(iter(scores.values()))}
    path = stage.output(f"results/{stage.name}/rates.png")
    steps = f"steps at {chosen.snr[-1]:g} dB"
    rates_picture(path, {"SNR, dB": lines, steps: last}, logarithmic=[steps])
    stage.picture("rates", path)
    stage.metrics({"rate": scores})


if __name__ == "__main__":
    main(beamform)
