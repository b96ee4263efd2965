"""Files of lower precision are registered where they are worth it on this processor, else refused with the figures."""

import dataclasses
from pathlib import Path

import pytest
import torch
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient

from srfoundry.deployment.export import read_proto, stamped
from srfoundry.imaging import images, resize
from srfoundry.runtime import pulling
from srfoundry.tracking import registering
from srfoundry.tracking.registering import Place, register_family
from tests import tiny

TIMES: dict[str, float] = {}


@pytest.fixture
def place(mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A champion with one file of each lower precision, and one held-out photograph; times are given, not measured."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "tiny.onnx"
    source.write_bytes(tiny.exported()[0])
    blobs = {}
    for name, precision in (("pruned", "fp32"), ("pruned_fp16", "fp16"), ("pruned_int8", "int8")):
        card = dataclasses.replace(tiny.describe(), name=name, precision=precision)
        if precision != "fp32":
            card = dataclasses.replace(card, metrics={"reduced": {"from": "pruned", "psnr_loss": 0.0123}})
        blob = stamped(read_proto(source), card)
        path = registering.path_of(tmp_path / "exports", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(blob)
        blobs[blob] = precision
    high = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    images.write(high, tmp_path / "held_out" / "high" / "a.png")
    images.write(resize.cubic(high, 0.5).clamp(0, 1), tmp_path / "held_out" / "bicubic" / "a.png")
    monkeypatch.setattr(registering, "seconds", lambda blob: TIMES[blobs[blob]])
    return Place(tmp_path / "exports", tmp_path / "held_out", "tiny", -10.0, 0.8)


@pytest.mark.filterwarnings("ignore")  # MLflow's own, several, at its import
@pytest.mark.parametrize(("int8", "taken"), [(0.7, True), (0.9, False)])
def test_int8_is_registered_only_where_it_is_quicker(place: Place, int8: float, taken: bool) -> None:
    TIMES.update(fp32=1.0, fp16=1.1, int8=int8)
    found = dict(register_family(place))
    assert list(found) == ["pruned", "pruned_fp16", "pruned_int8"]
    assert bool(found["pruned_int8"].version) == taken
    if not taken:
        assert found["pruned_int8"].standing == "not registered"
        assert "0.012 dB lost on validation, 0.90 of the time" in found["pruned_int8"].reason
        assert dict(register_family(place, new=True)) == {}, "it is known, and not measured again"
        TIMES["int8"] = 0.7
        assert dict(register_family(place))["pruned_int8"].version, "who asks for it gets it measured again"
        return
    version = MlflowClient().get_model_version("tiny", found["pruned_int8"].version)
    assert version.tags["precision"] == "int8" and version.tags["time.ratio"] == "0.700"
    assert version.tags["psnr.loss"] == "0.0123"
    assert float(version.tags["value"]) > 0  # scored itself: its card does not carry the original's figures


@pytest.mark.filterwarnings("ignore")
def test_each_family_is_judged_on_its_own_set(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member for photographs is compared with its like on damaged ones, and says what it was trained for."""
    monkeypatch.setattr(registering, "seconds", lambda blob: 1.0)
    for name in ("pruned_fp16", "pruned_int8"):
        registering.path_of(place.exports, name).unlink()
    source = place.exports / "pruned.onnx"
    trained = {"degradation": "photographs", "clean": 0.2, "dual_map": "operator"}
    for name in ("photo", "photo50"):
        card = dataclasses.replace(tiny.describe(), name=name, trained_for=trained)
        (place.exports / f"{name}.onnx").write_bytes(stamped(read_proto(source), card))
    low = images.read(place.held_out / "bicubic" / "a.png")
    images.write(images.jpeg(low, 30), place.held_out / "photographs" / "a.png")
    found = dict(register_family(place))
    assert list(found) == ["pruned", "photo", "photo50"]
    client = MlflowClient()
    clean, photo = (client.get_model_version("tiny", found[name].version).tags for name in ("pruned", "photo"))
    assert (clean["judged.on"], photo["judged.on"]) == ("bicubic", "photographs")
    assert clean["held_out.md5"] != photo["held_out.md5"] and photo["degradation"] == "photographs"
    assert photo["trained.for"] == "photographs from cameras and the web"
    assert float(photo["bicubic"]) < float(clean["bicubic"])
    rows = pulling.row("tiny", "2", "photo", photo)
    assert rows["figure"].endswith("(photographs)") and pulling.row("tiny", "1", "", clean)["figure"][-1].isdigit()


@pytest.mark.filterwarnings("ignore")
def test_a_version_has_what_it_is_made_again_with(place: Place) -> None:
    """The values and hashes of its run, which no commit may have; no password, and no name of a photograph."""
    TIMES.update(fp32=1.0, fp16=1.1, int8=0.9)
    project = place.exports.parent
    (project / "results/environment").mkdir(parents=True)
    for name in ("versions", "photographs"):
        (project / f"results/environment/{name}.json").write_text("{}")
    (project / "params.yaml").write_text("source: https://me:secret@host/list.txt\n")
    (project / "dvc.lock").write_text("stages: {}\n")
    for _, found in register_family(place):
        if found.version:
            made = Path(download_artifacts(f"models:/tiny/{found.version}")) / "made"
            assert sorted(path.name for path in made.iterdir()) == ["dvc.lock", "params.yaml", "versions.json"]
            assert (made / "params.yaml").read_text() == "source: https://host/list.txt\n"


@pytest.mark.filterwarnings("ignore")
def test_without_its_original_it_waits(place: Place) -> None:
    TIMES.update(fp32=1.0, fp16=1.1, int8=0.7)
    (place.exports / "pruned.onnx").unlink()
    found = dict(register_family(place))
    assert list(found) == ["pruned_fp16", "pruned_int8"] and not any(each.version for each in found.values())
    assert "is not here; run: dvc pull" in found["pruned_int8"].reason
