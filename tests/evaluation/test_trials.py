"""The methods of the result tables by name, whatever input their nets were trained on."""

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.evaluation import trials
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.sr.drn import DRN
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore


@pytest.mark.parametrize("enlargement", ["bicubic", "linear"])
def test_every_method_has_its_name_and_its_kernel(enlargement: linear_enlargement.How) -> None:
    nets = {
        "pretrain": MZSR(width=4, depth=3),
        "metatrain": MZSR(width=4, depth=3, enlargement=enlargement),
        "dual": DRN(scale=2, blocks=1, width=4),
        "prune": DRN(scale=2, blocks=1, width=4),
        "compress_50": DRN(scale=2, blocks=1, width=4, inner=[2, 4, 4]),
        "compress_70": DRN(scale=2, blocks=1, width=4, inner=[2, 2, 2]),
        "photo": DRN(scale=2, blocks=1, width=4),
        "photo_50": DRN(scale=2, blocks=1, width=4, inner=[2, 4, 4]),
    }
    for name, net in nets.items():
        redraw(net.eval(), generator(1, name))
    low = torch.rand(1, 3, 40, 48, generator=generator(2))
    true = kernels.gaussian(7, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1))
    recipe = Recipe.from_card({"rates": [0.01, 0.01, 0.01], "self_pairs": 2, "held_out": 0.2})
    observed = {name: Observation(low, kernel, Sampling(2)) for name, kernel in {"true": true, "bicubic": None}.items()}
    found = dict(trials.trials(nets, observed, recipe=recipe, tile=64))
    assert list(found) == [
        *["dual", "pruned", "pruned50", "pruned70", "pretrain"],
        *["mzsr0_true", "mzsr1_true", "mzsr3_true", "mzsr0_bicubic", "mzsr1_bicubic", "mzsr3_bicubic"],
        "finetune3_true",
    ]
    given = {"nets": nets, "observations": observed, "recipe": recipe, "tile": 64}
    assert list(dict(trials.of_set("gauss20", **given))) == ["bicubic", "aligned", *found]
    assert list(dict(trials.of_set("bicubic", **given))) == ["bicubic", "aligned", *found, "photo", "photo50"]
    blind = {name: Observation(low, None, Sampling(2)) for name in ("true",)}
    few = dict(trials.of_set("div2krk", **{**given, "observations": blind}))
    assert list(few) == ["bicubic", "pruned", "photo", "photo50"] and few["pruned"].equal(found["pruned"])
    assert all(image.shape == (1, 3, 80, 96) and 0 <= image.min() <= image.max() <= 1 for image in found.values())
    assert found["mzsr0_true"].equal(found["mzsr0_bicubic"]) == (enlargement == "bicubic")
    expected = restore(nets["metatrain"], observed["true"])
    assert float((found["mzsr0_true"] - expected).abs().max()) < 1e-5
