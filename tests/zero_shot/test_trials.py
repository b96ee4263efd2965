"""The methods of the result tables by name, whatever input their nets were trained on."""

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.sr.drn import DRN
from srfoundry.zero_shot import adaptation, trials


@pytest.mark.parametrize("enlargement", ["bicubic", "linear"])
def test_every_method_has_its_name_and_its_kernel(enlargement: linear_enlargement.How) -> None:
    nets = {
        "pretrain": MZSR(width=4, depth=3),
        "metatrain": MZSR(width=4, depth=3, enlargement=enlargement),
        "dual": DRN(scale=2, blocks=1, width=4),
        "prune": DRN(scale=2, blocks=1, width=4),
        "compress_50": DRN(scale=2, blocks=1, width=4, inner=[2, 4, 4]),
        "compress_70": DRN(scale=2, blocks=1, width=4, inner=[2, 2, 2]),
    }
    for name, net in nets.items():
        redraw(net.eval(), generator(1, name))
    low = torch.rand(1, 3, 40, 48, generator=generator(2))
    true = kernels.gaussian(7, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1))
    recipe = adaptation.recipe({"rates": [0.01, 0.01, 0.01], "sons": 2, "held_out": 0.2})
    known = {"true": true, "bicubic": None}
    found = dict(trials.trials(nets, low, known, 2, recipe=recipe, tile=64))
    assert list(found) == [
        *["bicubic", "pretrain", "dual", "pruned", "pruned50", "pruned70"],
        *["mzsr0_true", "mzsr1_true", "mzsr3_true", "mzsr0_bicubic", "mzsr1_bicubic", "mzsr3_bicubic"],
        "finetune3_true",
    ]
    assert all(image.shape == (1, 3, 80, 96) and 0 <= image.min() <= image.max() <= 1 for image in found.values())
    assert found["mzsr0_true"].equal(found["mzsr0_bicubic"]) == (enlargement == "bicubic")
    expected = adaptation.restore(nets["metatrain"], low, true, 2)
    assert float((found["mzsr0_true"] - expected).abs().max()) < 1e-5
