"""A card says how its network adapts."""

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.zero_shot.recipe import Recipe


def test_a_card_says_how_to_adapt() -> None:
    metrics = {"rates": [0.02, 0.01], "self_pairs": 2}
    recipe = Recipe.from_card(metrics)
    assert recipe == Recipe([0.02, 0.01], self_pairs=2) and recipe.to_card() == {**metrics, "held_out": 0.0}
    assert [recipe.with_steps(count).rates for count in (0, 1, 4)] == [[], [0.02], [0.02, 0.01, 0.01, 0.01]]
    assert Recipe.from_card({}, otherwise=[0.03]).with_steps(2).rates == [0.03, 0.03]
    assert Recipe.from_card({}).with_steps(0).rates == []
    with pytest.raises(FoundryError, match="names no rates"):
        Recipe.from_card({}).with_steps(2)
