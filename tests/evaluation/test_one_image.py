"""A photograph of a test set is a task of its own: what it takes travels as paths and numbers."""

import pickle
from functools import partial
from pathlib import Path

import torch

from srfoundry.evaluation.one_image import Evaluation, EvaluationImage, evaluate_image
from srfoundry.zero_shot.recipe import Recipe


def test_an_evaluation_travels_as_paths_and_numbers() -> None:
    shown = {"bicubic": ("dual", "pruned")}
    models = {name: Path(f"models/{name}.safetensors") for name in ("pretrain", "metatrain", "dual")}
    work = Evaluation(models, "0" * 32, Recipe([0.01]), 2, 128, torch.device("cpu"), shown)
    item = EvaluationImage(
        "gauss20", Path("high/a.png"), Path("gauss20/a.png"), {"true": Path("kernels/gauss20.npy")}, Path("a.pt")
    )
    blob = pickle.dumps((partial(evaluate_image, evaluation=work), item))
    function, item = pickle.loads(blob)
    assert function.keywords["evaluation"] == work and item == item and function.func is evaluate_image
    assert len(blob) < 4000
