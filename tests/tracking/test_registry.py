"""The registry: one version a model file, a champion that never gets worse, one line where nothing is registered."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from onnx import TensorProto, helper

from srfoundry.core.errors import FoundryError
from srfoundry.tracking import registry

NAME = "toy-x2"


def _model(weight: float) -> tuple[Any, str]:
    """A graph that multiplies images by a number, and the md5 of its bytes."""
    shape = [None, 3, None, None]
    low = helper.make_tensor_value_info("low", TensorProto.FLOAT, shape)
    restored = helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)
    constant = helper.make_tensor("weight", TensorProto.FLOAT, [1000], [weight] * 1000)
    first = helper.make_tensor("index", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Gather", ["weight", "index"], ["one"]),
        helper.make_node("Mul", ["low", "one"], ["restored"]),
    ]
    graph = helper.make_graph(nodes, "toy", [low], [restored], [constant, first])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return proto, hashlib.md5(proto.SerializeToString(deterministic=True), usedforsecurity=False).hexdigest()


def _register(weight: float, value: float, metric: str = "psnr", alias: str = "champion") -> registry.Registered:
    proto, md5 = _model(weight)
    return registry.register(proto, name=NAME, md5=md5, metric=metric, value=value, tags={"scale": "2"}, alias=alias)


@pytest.fixture(autouse=True)
def store(mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh store; what falls into the working folder falls into the test's own."""
    monkeypatch.chdir(tmp_path)
    return mlflow_store


def test_champion_moves_only_to_what_is_no_worse() -> None:
    """Worse becomes challenger; equal or better takes over; the same file is the same version."""
    assert _register(1.0, 30.0) == registry.Registered("1", "champion", True)
    assert _register(1.0, 30.0) == registry.Registered("1", "champion", False)
    assert _register(2.0, 29.0) == registry.Registered("2", "challenger", True)
    assert _champion() == "1"
    assert _register(3.0, 30.0) == registry.Registered("3", "champion", True)
    assert _register(2.0, 29.0) == registry.Registered("2", "challenger", False)
    assert _champion() == "3"
    assert _register(4.0, 1.0, metric="other") == registry.Registered("4", "champion", True)
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 4


def test_members_of_a_family_have_aliases_of_their_own() -> None:
    """A smaller member competes with its like only."""
    _register(1.0, 30.0)
    assert _register(2.0, 29.0, alias="p50") == registry.Registered("2", "p50", True)
    assert _register(3.0, 28.0, alias="p50") == registry.Registered("3", "p50_challenger", True)
    assert _register(4.0, 29.5, alias="p50") == registry.Registered("4", "p50", True)
    assert _champion() == "1"
    assert registry.fetch(f"models:/{NAME}@p50") == registry.fetch(f"models:/{NAME}/4")


def test_challenger_that_wins_is_challenger_no_more() -> None:
    """An alias tells one thing."""
    _register(1.0, 30.0)
    _register(2.0, 29.0)
    MlflowClient().set_model_version_tag(NAME, "1", "value", "28.0")
    assert _register(2.0, 29.0).alias == "champion"
    assert "challenger" not in MlflowClient().get_registered_model(NAME).aliases


def test_fetch_gives_the_registered_bytes() -> None:
    """By alias and by version, with free height and width in the signature, and nothing pickled on the way."""
    proto, md5 = _model(1.0)
    _register(1.0, 30.0)
    for uri in (f"models:/{NAME}@champion", f"models:/{NAME}/1"):
        assert hashlib.md5(registry.fetch(uri), usedforsecurity=False).hexdigest() == md5
    from mlflow.models import get_model_info

    info = get_model_info(f"models:/{NAME}@champion")
    assert info.signature is not None
    assert [entry["tensor-spec"]["shape"] for entry in info.signature.inputs.to_dict()] == [(-1, 3, -1, -1)]
    assert proto is not None


def test_nothing_registered_is_one_line(tmp_path: Path) -> None:
    """And looking makes no database."""
    database = tmp_path / "mlflow.db"
    kept = database.rename(tmp_path / "kept.db")
    with pytest.raises(FoundryError, match="dvc repro export"):
        registry.fetch(f"models:/{NAME}@champion")
    assert not database.exists()
    kept.rename(database)
    _register(1.0, 30.0)
    for uri in ("models:/other@champion", f"models:/{NAME}@nobody", f"models:/{NAME}/99"):
        with pytest.raises(FoundryError, match="no such registered model"):
            registry.fetch(uri)
    for uri in ("models:/", "models:/x", "runs:/x/y", "models:/@champion"):
        with pytest.raises(FoundryError, match="is no model address"):
            registry.fetch(uri)


def test_lost_file_is_told_and_healed(tmp_path: Path) -> None:
    """A moved folder leaves a version without its file: fetch says so, registering again makes a new version."""
    _register(1.0, 30.0)
    shutil.rmtree(tmp_path / "mlartifacts")
    with pytest.raises(FoundryError, match="its file is gone"):
        registry.fetch(f"models:/{NAME}@champion")
    assert _register(1.0, 30.0) == registry.Registered("2", "champion", True)
    assert registry.fetch(f"models:/{NAME}@champion")


def _champion() -> str:
    return str(MlflowClient().get_model_version_by_alias(NAME, "champion").version)
