"""Makes the arrays beside it from the full reference values: python tests/golden/make.py DATA [FOLDER]

DATA is the folder that holds golden/reference and golden/beamforming (the tests' SRFOUNDRY_GOLDEN). Nothing is computed
by this project: arrays of the authors' programs are chosen, cut and thinned out, and what a formula gives is left out.
"""

import argparse
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
SAMPLES = 256  # values kept of a gradient's tensor


def kernels(given: Arrays) -> Arrays:
    """All but the kernel of a published test set."""
    return {name: value for name, value in given.items() if name != "kernel_mat_g20"}


def imresize(given: Arrays) -> Arrays:
    """The first colour; without the largest enlargements, whose like is there from smaller images."""
    kept = {name: value for name, value in given.items() if not name.startswith("p64_cubic_up")}
    return {name: value[..., :1] if value.ndim == 3 else value for name, value in kept.items()}


def drn_forward(given: Arrays) -> Arrays:
    """Outputs of the first of two images; losses and gradients are of both."""
    outputs = ("_sr", "_dual_out")
    return {name: value[:1] if any(part in name for part in outputs) else value for name, value in given.items()}


def search_mix(given: Arrays) -> Arrays:
    """A corner of each searched layer's weights, which are those of `fill`; images as bytes."""
    return {
        name: value[:4, :4] if name.startswith("layerw") else whole(value) if name.startswith("val_") else value
        for name, value in given.items()
    }


def greedy(given: Arrays) -> Arrays:
    """Without the weights: the program's were drawn from numpy's RandomState(21), and the test draws them again."""
    stream = np.random.RandomState(21)
    for name, value in given.items():
        if name.startswith("init.") and "mean" not in name:
            deviation = np.sqrt(2 / value[0].size) if value.ndim == 4 else 0.05
            drawn = (stream.randn(*value.shape) * deviation).astype(np.float32)
            assert np.array_equal(drawn, value), name
    kept = {name: given[name] for name in given if name in ("order", "cfg", "out0", "out1", "out2")}
    kept |= {name: given[name].astype(np.float32) for name in given if name.startswith("score") and name[5:].isdigit()}
    return kept | {name: whole(given[name]) for name in given if name[:3] in ("b0_", "b1_")}


def meta_gradients(given: Arrays) -> Arrays:
    """Each gradient tensor thinned out, and its norm; the weights whole."""
    kept: Arrays = {}
    for name, value in given.items():
        if name.rstrip("0123456789") in ("fo", "so", "sol"):
            kept[name] = value.reshape(-1)[:: max(1, value.size // SAMPLES)]
            kept[f"{name}_norm"] = np.sqrt(np.array(np.square(value.astype(np.float64)).sum()))
        elif name[0] == "w" or name[:2] == "lw" or name in ("inputa", "inputb", "labela", "labelb", "lossesb"):
            kept[name] = value
    del kept["weighted"]
    return kept


def beamforming(given: Arrays) -> Arrays:
    """Channels (30 of 8x8), and the rates that the tests ask for."""
    count = 60 if given["H"].shape[1] == 4 else 30
    methods = ("MRT", "RZF", "WMMSE10_MRT", "released_WMMSE10")
    names = [f"wsr_{method}_{ratio}" for ratio in (0, 30) for method in methods]
    if count == 60:
        more = ("WMMSEfold300_MRT", "WMMSE50_best10rand", "WMMSEfold200_best10rand", "LAGDrestart_lin20_MRT")
        names += [f"wsr_{method}_20" for method in more]
    names += [name for name in given if name.startswith("P_")]
    return {"H": given["H"][:count]} | {
        name: given[name][:count] if given[name].ndim else given[name] for name in names
    }


def whole(values: np.ndarray) -> np.ndarray:
    """Whole numbers 0 to 255 as bytes."""
    made = values.astype(np.uint8)
    assert np.array_equal(made, values)
    return made


MADE = {
    "mzsr_kernels": ("reference", kernels),
    "mzsr_imresize": ("reference", imresize),
    "mzsr_metrics": ("reference", dict),
    "mzsr_meta_grad": ("reference", meta_gradients),
    "drn_forward_loss": ("reference", drn_forward),
    "drn_psnr": ("reference", dict),
    "drc_candidates": ("reference", dict),
    "drc_search_mix": ("reference", search_mix),
    "drc_greedy_selection": ("reference", greedy),
    "M4K4": ("beamforming", beamforming),
    "M8K8": ("beamforming", beamforming),
}


def main() -> None:
    """Write every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent)
    options = parser.parse_args()
    for name, (where, reduce) in MADE.items():
        with np.load(options.data / "golden" / where / f"{name}.npz", allow_pickle=False) as given:
            arrays = reduce(dict(given))
        np.savez_compressed(options.folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    main()
