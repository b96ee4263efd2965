"""Models by the aliases of a registry: what is there is offered, what moves is served."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures
from srfoundry.serving.following import Follower
from srfoundry.serving.members import Family
from srfoundry.serving.sources import DISCOVERY, Folder, Registry, source
from srfoundry.tracking import registry
from tests import served

NAME = "served-x2"


def test_addresses() -> None:
    assert isinstance(source("exports/"), Folder)
    found = source("models:/srfoundry@p50")
    assert isinstance(found, Registry) and (found.name, found.alias) == ("srfoundry", "p50")
    for wrong in ("models:/", "models:/srfoundry/3"):
        with pytest.raises(FoundryError, match="models:/NAME@ALIAS"):
            source(wrong)


def test_aliases_of_a_registry_are_followed(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)

    def register(brighter: float, alias: str, psnr: float) -> str:
        blob = served.model(brighter)
        figures = Figures(psnr, bicubic=20.0, held_out="these", seconds=None, size=len(blob))
        found = registry.register(
            blob, name=NAME, figures=figures, tags={"scale": "2"}, score=lambda _: None, alias=alias
        )
        return found.version

    with pytest.raises(FoundryError, match="no such registered model"):
        Registry(NAME).offers()
    first, second, broken = (
        register(0.0, "champion", 30.0),
        register(0.01, "champion", 25.0),
        register(0.3, "worst", 1.0),
    )
    client = MlflowClient()
    client.create_registered_model("another")
    monkeypatch.setattr(registry, "versions", None)  # which looks at every model that there is
    with pytest.raises(FoundryError, match="no alias that could be served"):
        Registry("another").offers()
    client.delete_registered_model_alias(NAME, "worst")
    follower = Follower(Registry(NAME), Family(), threads=1, device="cpu")
    follower.begin()
    members = {member.name: member.loaded.version for member in follower.family.members()}
    assert members == {"champion": first} and follower.family.default == "champion"  # and nobody serves a challenger
    client.set_registered_model_alias(NAME, "champion", second)
    follower.look()
    assert follower.family.find("champion").loaded.version == second
    client.set_registered_model_alias(NAME, "champion", broken)
    follower.look()
    member = follower.family.find("champion")
    assert member.loaded.version == second and member.refused["version"] == broken
    register(0.02, "p50", 26.0)
    for _ in range(DISCOVERY):
        follower.look()
    client.delete_registered_model_alias(NAME, "champion")
    client.set_registered_model_alias(NAME, "p50", first)
    follower.look()  # others are followed at once
    assert {member.name: member.loaded.version for member in follower.family.members()} == {
        "champion": second,
        "p50": first,
    }
    client.delete_registered_model_alias(NAME, "p50")
    for _ in range(DISCOVERY):
        follower.look()
    assert follower.family.default == "champion" and len(follower.family.members()) == 2
    assert [record.message.partition(";")[0] for record in caplog.records][-3:] == [
        f"champion is not in models:/{NAME} any more",
        f"p50 is version {first} from now on, it was 4",
        f"models:/{NAME} has no alias that could be served",
    ]
