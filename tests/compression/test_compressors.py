"""Every compressor gives a net that meets the budget and that its card rebuilds; an unknown one is named."""

import json
import warnings
from pathlib import Path

import pytest
import torch

from srfoundry.compression.compressors import COMPRESSORS
from srfoundry.compression.recipe import Compress, Conditions
from srfoundry.compression.settings import Compression, Searching
from srfoundry.config import params
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo import cards
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs
from tests.masks import LOW
from tests.searches import along, modelled, wanted
from tests.shipped import SHIPPED


@pytest.mark.parametrize("method", COMPRESSORS)
def test_every_compressor_gives_a_net_that_its_card_rebuilds(method: str, tmp_path: Path) -> None:
    draws = PatchDraw(patch=32, octave=0.0, batch=2)
    searching = Searching(
        model=modelled(importance="activation"), descent=along(2), weights=loss_weights(0.1), draws=draws
    )
    how = Compression(target=wanted(0.5, 0.1, multiple=2), searching=searching, groups=4)
    on = Conditions(
        patches=photographs(tmp_path / "train"),
        compute=Compute(CPU),
        stream=Stream(1, "compress@50"),
        resumption=Resumption(tmp_path / "state", "k"),
    )
    net, duals = nets()
    before = sum(w.numel() for w in net.parameters())
    compress: Compress = COMPRESSORS[method].load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compress(net, duals, how, on)
    left = sum(w.numel() for w in found.net.parameters())
    assert 0.5 <= 1 - left / before <= 0.6
    assert found.scores["removed_fraction"] == pytest.approx(1 - left / before)
    arch = {"name": "drn", "scale": 2, "blocks": 1, "width": 8, **found.arch}
    cards.save(tmp_path / "n.safetensors", found.net, arch=arch, scale=2, made_by="compress", params_hash="p")
    loaded, _ = cards.load(tmp_path / "n.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(loaded(LOW), found.net(LOW), atol=0, rtol=0)
    assert isinstance(loaded, DRN) and ("grouped" in found.arch) == (method == "msgc")
    assert COMPRESSORS[method].searches == bool(found.history), "recipes are equally long"


def test_an_unknown_method_is_answered_with_the_choices() -> None:
    values = params.load(SHIPPED).values()
    values["compress"]["method"] = "magic"
    with pytest.raises(FoundryError, match=f"method: must be one of {', '.join(COMPRESSORS)}, got 'magic'"):
        params.check(json.loads(json.dumps(values)), "params.yaml")
