"""The folder of networks that a non-blind network goes with: its estimators are trained for it, once, and kept.

Published weights get a folder as the stage nonblind writes one, so that the product finds in it what it needs.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srfoundry.blind.auto.training import taught_classifier
from srfoundry.blind.corrector.samples import collect_samples
from srfoundry.blind.corrector.training import train_corrector
from srfoundry.blind.kernel_step.training import CaseDraw, train_kernel_step
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_restoration import VARIANCES
from srfoundry.blind.nonblind_settings import ClassifierDescent, CorrectorDescent
from srfoundry.blind.trained_networks import load_networks
from srfoundry.blind.unfolded.training import WindowDraw, train_unfolded
from srfoundry.config.params import load
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.seeds import Stream, redraw
from srfoundry.core.state import Resumption
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.networks.nonblind.fusion import start_plain as start_at_first
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.kernel_step import start_plain as start_at_least_squares
from srfoundry.networks.nonblind.unfolded import Unfolded, start_plain
from srfoundry.networks.nonblind.usrnet import USRNet, from_authors
from srfoundry.networks.published_weights import read_foreign
from srfoundry.networks.zoo import cards
from srfoundry.restoration import fusion_training
from srfoundry.restoration.fusion_photographs import PhotographDraw
from srfoundry.training.settings import PatchDraw

SAMPLES = 12000  # restorations that a corrector learns from
CLASSIFIER = ClassifierDescent(windows=90000, steps=3000, rate=2e-3)
SCALES = (2, 3, 4)  # of the published weights
CPU = torch.device("cpu")


def folder_of(restorer: Path, name: str) -> Path:
    """Where the networks of a restorer are: beside a network of a project, in runs/blind for published weights.

    Args:
        restorer: .safetensors or .pth; the latter are written there as a model of the project.
        name: of the folder in runs/blind.
    """
    if restorer.suffix == ".safetensors":
        return restorer.parent
    folder = Path("runs/blind") / (name or "published")
    folder.mkdir(parents=True, exist_ok=True)
    net = from_authors(read_foreign(restorer))
    convolutions = [net.denoiser.head, *(down[-1] for down in net.denoiser.down if isinstance(down, nn.Sequential))]
    widths = [each.out_channels for each in convolutions if isinstance(each, nn.Conv2d)]
    arch = {"name": "usrnet", "widths": widths, "iterations": net.iterations}
    _save(folder / "nonblind.safetensors", net, arch)
    return folder


def nonblind_of(folder: Path) -> USRNet:
    """The non-blind network of a folder."""
    net = cards.load(folder / "nonblind.safetensors")[0]
    assert isinstance(net, USRNet)
    return channels_last(net.eval(), CPU)


def key_of(patches: Patches, *values: object) -> str:
    """Of what a network is trained on, and how: other photographs or values begin anew."""
    text = "".join([*patches.photographs(), *map(repr, values)])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def corrector_of(folder: Path, restorer: USRNet, *, photographs: Path, params: Path) -> Corrector:
    """The corrector of a restorer: from its folder, or trained now (minutes) and written there.

    Args:
        photographs: Patches that it is trained on.
        params: params.yaml, for the softness of photographs.
    """
    file = folder / "corrector.safetensors"
    if not file.exists():
        patches, softness = Patches.open(photographs), load(params).nonblind.collection.photograph_softness
        key = key_of(patches, softness, SAMPLES)
        stream, drawn = Stream(1, "blind"), SharpPatches(patches, PatchDraw(patch=96, octave=0.5, batch=8))
        samples = collect_samples(
            restorer,
            PairDraw(drawn, noise=0.04, softness=softness),
            samples=SAMPLES,
            scales=SCALES,
            variances=VARIANCES,
            compute=Compute(CPU, "auto"),
            stream=stream,
            resumption=Resumption(file.with_suffix(".samples.pt"), key),
        )
        corrector, along = Corrector(), CorrectorDescent(steps=4000, rate=2e-3)
        train_corrector(corrector, samples, along, stream=stream, resumption=Resumption(file.with_suffix(".pt"), key))
        _save(file, corrector, {"name": "corrector"})
    corrector = cards.load(file)[0]
    assert isinstance(corrector, Corrector)
    return corrector


def unfolded_of(folder: Path, *, photographs: Path, params: Path) -> Unfolded:
    """The networks of the method unfolded: from the folder, or trained now (most of an hour) and written there.

    Args:
        photographs: Patches that they are trained on.
        params: params.yaml, whose section unfolded says how.
    """
    file = folder / "unfolded.safetensors"
    if not file.exists():
        patches, chosen = Patches.open(photographs), load(params).unfolded
        stream, net = Stream(1, "blind"), Unfolded(widths=chosen.widths, kernel_widths=chosen.kernel_widths)
        redraw(net, stream.rng("unfolded"))
        start_plain(net)
        train_unfolded(
            net,
            WindowDraw(patches, chosen.windows, scales=SCALES),
            chosen.descent,
            scales=chosen.scales,
            compute=Compute(CPU),
            stream=stream,
            resumption=Resumption(file.with_suffix(".pt"), key_of(patches, chosen)),
        )
        _save(file, net, chosen.arch)
    net = cards.load(file)[0]
    assert isinstance(net, Unfolded)
    return net


def prepare_classifier(folder: Path, *, photographs: Path, params: Path) -> None:
    """Put the classifier of `auto` into the folder, if it is not there: trained as the stage nonblind does (minutes).

    Args:
        photographs: Patches that it is trained on.
        params: params.yaml, for the softness of photographs.
    """
    file, chosen = folder / "classifier.safetensors", load(params).nonblind
    if file.exists():
        return
    patches, softness = Patches.open(photographs), chosen.collection.photograph_softness
    classifier, arch, _ = taught_classifier(
        patches,
        CLASSIFIER,
        softness=softness,
        scales=SCALES,
        stream=Stream(1, "blind"),
        resumption=Resumption(file.with_suffix(".pt"), key_of(patches, softness, CLASSIFIER)),
    )
    _save(file, classifier, arch)


def prepare_kernel_step(folder: Path, *, photographs: Path, params: Path) -> None:
    """Put the learned step of free-form kernels into the folder, if it is not there (most of an hour).

    Args:
        photographs: Patches that it is trained on.
        params: params.yaml, whose section kernel_step says how.
    """
    file = folder / "kernel_step.safetensors"
    if file.exists():
        return
    patches, chosen = Patches.open(photographs), load(params).kernel_step
    stream, net = Stream(1, "blind"), KernelStep(scales=SCALES, widths=chosen.widths)
    redraw(net, stream.rng("kernel_step"))
    start_at_least_squares(net)
    train_kernel_step(
        net,
        CaseDraw(patches, chosen.draw),
        chosen.descent,
        restorer=nonblind_of(folder),
        scales=chosen.scales,
        compute=Compute(CPU),
        stream=stream,
        resumption=Resumption(file.with_suffix(".pt"), key_of(patches, chosen)),
    )
    _save(file, net, chosen.arch)


def prepare_fusion(folder: Path, *, photographs: Path, params: Path) -> None:
    """Put what fuses restorations into the folder, if it is not there (more than an hour).

    Args:
        photographs: Patches that it is trained on.
        params: params.yaml, whose section fusion says how, and whose section estimate how kernels are found.
    """
    file = folder / "fusion.safetensors"
    if file.exists():
        return
    patches, values = Patches.open(photographs), load(params)
    chosen, settings, stream = values.fusion, values.estimate.settings, Stream(1, "blind")
    net = Fusion(scales=SCALES, widths=chosen.widths)
    redraw(net, stream.rng("fusion"))
    start_at_first(net)
    made_by = {
        scale: fusion_training.restoration(
            load_networks(folder, scale, Compute(CPU, "auto")), settings, scale, stream=stream
        )
        for scale in SCALES
    }
    kept = Resumption(file.with_suffix(".pt"), key_of(patches, chosen, settings))
    samples = fusion_training.collect_samples(
        made_by,
        PhotographDraw(patches, chosen),
        scales=chosen.scales,
        stream=stream,
        resumption=kept.beside("samples"),
    )
    fusion_training.train_fusion(net, samples, chosen, compute=Compute(CPU), stream=stream, resumption=kept)
    _save(file, net, chosen.arch)


def _save(file: Path, net: nn.Module, arch: dict[str, Any]) -> None:
    about: dict[str, Any] = {"made_by": "benchmark", "params_hash": "0" * 16, "metrics": {"scales": list(SCALES)}}
    cards.save(file, net, arch=arch, scale=SCALES[0], **about)
