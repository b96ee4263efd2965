"""States of unfinished work come back as they were, for their key alone, or say in one line why not."""

from pathlib import Path

import pytest
import torch

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import kept, load_state, save_state
from srfoundry.networks.adaptive.mzsr import MZSR


def net() -> MZSR:
    made = MZSR(width=4, depth=3)
    seeds.redraw(made, seeds.generator(1, "test"))
    return made


def test_states_belong_to_their_key_and_survive_damage_by_saying_so(tmp_path: Path) -> None:
    path, made = tmp_path / "state.pt", net()
    optimiser = torch.optim.Adam(made.parameters())
    made(torch.ones(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    save_state(path, "key", {"net": made, "optimiser": optimiser}, 7, [{"step": 7.0, "loss": 0.5}])
    other = net()
    again = torch.optim.Adam(other.parameters())
    assert load_state(path, "another key", {"net": other, "optimiser": again}) == (0, [])
    step, history = load_state(path, "key", {"net": other, "optimiser": again})
    assert (step, history) == (7, [{"step": 7.0, "loss": 0.5}])
    assert all(a.equal(b) for a, b in zip(made.parameters(), other.parameters(), strict=True))
    for blob in (b"", b"junk", path.read_bytes()[:500]):
        path.write_bytes(blob)
        with pytest.raises(FoundryError, match=r"state\.pt is damaged.*delete it"):
            load_state(path, "key", {"net": other})


def test_what_was_made_is_kept_for_its_key(tmp_path: Path) -> None:
    calls = []

    def make() -> dict[str, object]:
        calls.append(1)
        return {"image": torch.arange(3.0), "scores": {"pruned": {"psnr_y": 30.25}}}

    for key in ("one", "one", "two"):
        found = kept(tmp_path / "a" / "kept.pt", key, make)
        assert found["image"].equal(torch.arange(3.0)) and found["scores"] == {"pruned": {"psnr_y": 30.25}}
    assert len(calls) == 2


def test_what_is_kept_and_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "kept.pt").write_bytes(b"damaged")
    with pytest.raises(FoundryError, match=r"kept\.pt is damaged .*delete it"):
        kept(tmp_path / "kept.pt", "one", dict)
