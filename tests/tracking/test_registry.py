"""The registry: one version a model file, a champion that never gets worse, one line where nothing is registered."""

import shutil
import tempfile
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking import MlflowClient
from onnx import TensorProto, helper

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures
from srfoundry.tracking import registry, stores
from srfoundry.tracking.champion import decide
from srfoundry.tracking.promoting import promote

NAME = "toy-x2"


def _model(weight: float) -> bytes:
    """A graph that multiplies images by a number."""
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
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return proto.SerializeToString(deterministic=True)


def _figures(psnr: float, held_out: str = "these") -> Figures:
    return Figures(psnr, bicubic=20.0, held_out=held_out, seconds=None, size=len(_model(1.0)))


def _register(
    weight: float, psnr: float, alias: str = "champion", held_out: str = "these", **more: Any
) -> registry.Registered:
    given: dict[str, Any] = {"score": lambda _: None, "tags": {"scale": "2"}} | more
    return registry.register(
        _model(weight), name=NAME, figures=_figures(psnr, held_out), least_gain=0.02, alias=alias, **given
    )


@pytest.fixture(autouse=True)
def store(mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh store; what falls into the working folder falls into the test's own."""
    monkeypatch.chdir(tmp_path)
    return mlflow_store


def test_champion_moves_only_to_what_is_better() -> None:
    """Worse or as good becomes challenger; better takes over; the same file is the same version."""
    assert _register(1.0, 30.0) == registry.Registered("1", "champion", True)
    assert _register(1.0, 30.0) == registry.Registered("1", "champion", False)
    assert _register(2.0, 29.0) == registry.Registered("2", "challenger", True)
    assert _champion() == "1"
    assert _register(3.0, 30.1) == registry.Registered("3", "champion", True)
    assert _register(2.0, 29.0) == registry.Registered("2", "challenger", False)
    assert _register(4.0, 30.101).reason.startswith("+0.001 dB against version 3, under 0.02 dB")
    assert _champion() == "3"
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 4


def test_mlflow_says_nothing_itself(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that is new, of one that is not, of a run that ends, of a file that is looked at."""
    for name, value in stores.PATIENCE.items():  # as whatever asks a registry does before
        monkeypatch.setenv(name, value)
    for weight in (1.0, 2.0):
        _register(weight, 30.0 + weight)
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_nothing_at_or_below_bicubic_is_champion() -> None:
    """Not even the first; the reason stands on the version."""
    found = _register(1.0, 20.0)
    assert found.alias == "challenger" and "above" in found.reason
    assert MlflowClient().get_model_version(NAME, "1").tags["decision"] == found.reason
    assert _register(2.0, 20.5).alias == "champion"


def test_holder_scored_on_other_photographs_is_scored_anew() -> None:
    """33 dB on easy photographs say nothing against 28 dB on hard ones."""
    _register(1.0, 33.0, held_out="easy")
    unknown = _register(2.0, 28.4, held_out="hard")
    assert unknown.alias == "challenger" and "dvc pull" in unknown.reason
    scores = {_model(1.0): _figures(27.0, "hard"), _model(2.0): _figures(28.4, "hard")}
    assert _register(2.0, 28.4, held_out="hard", score=scores.get).alias == "champion"
    old = MlflowClient().get_model_version(NAME, "1").tags
    assert old["held_out.md5"] == "hard" and float(old["value"]) == 27.0, "so that it need not be scored again"
    scores[_model(3.0)] = _figures(28.0, "third")
    scores[_model(2.0)] = _figures(28.5, "third")
    assert _register(3.0, 28.0, held_out="third", score=scores.get).alias == "challenger"
    assert _champion() == "2"


def test_another_scale_is_not_comparable() -> None:
    """Who changes shared.scale wants the other model."""
    _register(1.0, 33.0)
    found = _register(2.0, 28.0, tags={"scale": "4"})
    assert found.alias == "champion" and "enlarges 2 times" in found.reason


def test_time_and_size_decide_between_equals() -> None:
    """A small gain takes over with less time or size, and not with more of either."""
    holder = Figures(30.0, 20.0, "x", seconds=1.0, size=1000)

    def takes(psnr: float, seconds: float | None, size: int) -> bool:
        return decide(Figures(psnr, 20.0, "x", seconds, size), holder, 0.02).takes

    assert takes(30.0, 0.5, 1000) and takes(30.01, 1.0, 700) and takes(30.0, None, 700)
    assert not takes(30.01, 1.0, 1000) and not takes(30.0, 0.5, 1200) and not takes(30.0, 1.5, 500)
    assert not takes(29.99, 0.1, 10) and takes(30.02, 3.0, 3000)
    assert decide(Figures(20.1, 20.0, "x", None, 1), Figures(19.0, 20.0, "x", None, 1), 0.02).takes
    with pytest.raises(ValueError, match="cannot be compared"):
        decide(Figures(30.0, 20.0, "y", None, 1), holder, 0.02)


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


@pytest.mark.parametrize("by", ["program", "page"])
def test_a_rollback_stands(by: str) -> None:
    """Whoever moved the alias, though the better file is registered again, under its version or without one."""
    client = MlflowClient()
    _register(1.0, 30.0)
    _register(2.0, 31.0)
    if by == "program":
        assert list(promote(f"models:/{NAME}/1")) == ["champion is version 1, it was version 2"]
    else:
        client.set_registered_model_alias(NAME, "champion", "1")
    found = _register(2.0, 31.0)
    assert found == registry.Registered("2", "challenger", False) and "was taken from it by hand" in found.reason
    client.delete_model_version(NAME, "2")
    gone = _register(2.0, 31.0)
    assert gone.standing == "not registered" and "delete the tag withdrawn." in gone.reason
    assert _champion() == "1" and len(client.search_model_versions(f"name = '{NAME}'")) == 1
    assert _register(3.0, 30.5) == registry.Registered("3", "champion", True), "what is new competes as ever"
    assert _register(2.0, 31.0).version == ""
    tags = client.get_registered_model(NAME).tags
    client.delete_registered_model_tag(NAME, next(tag for tag in tags if tag.startswith("withdrawn.")))
    assert _register(2.0, 31.0).alias == "champion"


def test_a_rollback_is_taken_back() -> None:
    """The version that is promoted again is withdrawn no more."""
    _register(1.0, 30.0)
    _register(2.0, 31.0)
    list(promote(f"models:/{NAME}/1"))
    assert list(promote(f"models:/{NAME}/2")) == ["champion is version 2, it was version 1"]
    assert list(promote(f"models:/{NAME}/2")) == ["champion is version 2 already"]
    assert _register(2.0, 31.0) == registry.Registered("2", "champion", False)
    _register(3.0, 32.0)
    assert _register(2.0, 31.0).reason.startswith("-1.000 dB against version 3")


def test_files_of_fewer_bits_follow_a_rollback() -> None:
    """Where there are some that were made of it; else a line says which stay."""

    def member(name: str, original: float | None = None) -> dict[str, Any]:
        of = {} if original is None else {"original.md5": registry.md5(_model(original))}
        return {"tags": {"scale": "2", "member": name} | of}

    for weight, psnr in ((1.0, 30.0), (2.0, 31.0)):
        _register(weight, psnr, **member("pruned"))
        _register(weight + 0.25, psnr, alias="fp16", **member("pruned_fp16", weight))
    _register(2.5, 31.0, alias="int8", **member("pruned_int8", 2.0))
    assert list(promote(f"models:/{NAME}/1")) == [
        "champion is version 1, it was version 3",
        "fp16 is version 2, it was version 4",
        "int8 stays version 5: version 1 has no pruned_int8",
    ]
    late = _register(2.75, 31.0, alias="fp16", **member("pruned_fp16", 2.0))
    assert late.version == "" and "champion was taken from it" in late.reason


def test_only_what_is_there_is_promoted(tmp_path: Path) -> None:
    _register(1.0, 30.0)
    with pytest.raises(FoundryError, match="no such registered model"):
        list(promote(f"models:/{NAME}/2"))
    shutil.rmtree(tmp_path / "mlartifacts")
    with pytest.raises(FoundryError, match="its file is gone"):
        list(promote(f"models:/{NAME}/1"))


def test_fetch_gives_the_registered_bytes() -> None:
    """By alias and by version."""
    _register(1.0, 30.0)
    for uri in (f"models:/{NAME}@champion", f"models:/{NAME}/1"):
        assert registry.fetch(uri) == _model(1.0)


def test_nothing_registered_is_one_line(tmp_path: Path) -> None:
    """And looking makes no database."""
    database = tmp_path / "mlflow.db"
    kept = database.rename(tmp_path / "kept.db")
    with pytest.raises(FoundryError, match="srfoundry register"):
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


@pytest.mark.parametrize(
    "error",
    [MlflowException("Read timed out"), MlflowException("no", PERMISSION_DENIED), OSError("reset")],
    ids=["silent", "forbidden", "cut"],
)
def test_a_store_that_does_not_hand_out_files_for_a_moment_takes_nothing_from_the_champion(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a file is gone is another thing."""
    _register(1.0, 33.0)

    def away(**_: str) -> str:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(registry, "download_artifacts", away)
        for ask in (
            lambda: _register(2.0, 30.0),
            lambda: _register(1.0, 33.0),
            lambda: registry.registered(_model(1.0), NAME),
            lambda: registry.fetch(f"models:/{NAME}@champion"),
        ):
            with pytest.raises(FoundryError, match="does not answer|refuses, status 403; set MLFLOW_TRACKING_USERNAME"):
                ask()
        assert _champion() == "1"
    assert _register(2.0, 30.0).alias == "challenger"
    assert _champion() == "1" and len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 2


def test_looking_at_a_file_leaves_no_copy_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that are servers or buckets are downloaded from, which one in a folder stands for here."""
    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", ArtifactRepository.download_artifacts)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    for weight in (1.0, 2.0):
        _register(weight, 30.0 + weight)
    assert registry.fetch(f"models:/{NAME}@champion") == _model(2.0)
    assert registry.registered(_model(1.0), NAME) and not registry.registered(_model(3.0), NAME)
    assert list(place.iterdir()) == []


def test_every_model_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store hands out a hundred at a time."""
    names = [f"{NAME}-{letter}" for letter in "abc"]
    client = MlflowClient()
    for name in names:
        client.create_registered_model(name)
        for _ in range(3):
            client.create_model_version(name, "nowhere")
    for search in ("search_registered_models", "search_model_versions"):
        monkeypatch.setattr(MlflowClient, search, partialmethod(getattr(MlflowClient, search), max_results=2))
    listed = [(row["model"], row["version"]) for row in registry.versions()]
    assert listed == [(name, number) for name in names for number in "321"]


def test_quotes_in_a_name_hide_no_other_model() -> None:
    """MLflow's filters know no escapes: one kind of quotes is enclosed in the other; a name with both is refused."""
    other, odd = "it's", '"it\'s"'
    given: dict[str, Any] = {"figures": _figures(31.0), "tags": {"scale": "2"}, "score": lambda _: None}
    MlflowClient().create_registered_model(odd)
    _register(0.5, 31.0)
    registry.register(_model(0.6), name=other, **given)
    assert registry.registered(_model(0.6), other) and not registry.registered(_model(0.5), other)
    found = [(row["model"], row["version"]) for row in registry.versions()]
    assert sorted(found) == sorted([(odd, ""), (other, "1"), (NAME, "1")])
    with pytest.raises(FoundryError, match="must not hold both"):
        registry.register(_model(0.6), name=odd, **given)


def _champion() -> str:
    return str(MlflowClient().get_model_version_by_alias(NAME, "champion").version)
