"""A session runs any image through an exported file, and names what cannot be run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment.export import read_proto
from srfoundry.runtime.session import Session, padded
from tests import tiny


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The tiny network's exported file."""
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny.exported()[0])
    return file


def test_batches_are_free_and_the_graph_clips(path: Path) -> None:
    low = 3 * torch.rand(3, 3, 16, 24, generator=seeds.generator(0, "loud")).numpy() - 1
    restored = Session(path, threads=1).run(low)
    assert restored.shape == (3, 3, 32, 48) and 0 <= float(restored.min()) and float(restored.max()) <= 1


@pytest.mark.parametrize("multiple", [2, 3])
def test_padding_is_added_and_cropped(multiple: int) -> None:
    seen: list[tuple[int, int]] = []

    def double(image: np.ndarray) -> np.ndarray:
        seen.append((image.shape[2], image.shape[3]))
        return image.repeat(2, 2).repeat(2, 3)

    low = torch.rand(1, 3, 7, 11, generator=seeds.generator(0, "pad")).numpy()
    assert np.array_equal(padded(double, low, multiple, 2), low.repeat(2, 2).repeat(2, 3))
    assert seen[0][0] % multiple == 0 and seen[0][1] % multiple == 0


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "zeros", "flipped"])
def test_damaged_files_are_one_line(path: Path, damage: str) -> None:
    blob = path.read_bytes()
    middle = len(blob) // 2
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no model at all",
            "cut": blob[:middle],
            "zeros": bytes(500),
            "flipped": b"\xff" * 64 + blob[64:],
        }[damage]
    )
    with pytest.raises(FoundryError, match="dvc repro export") as caught:
        Session(path, threads=1)
    assert "\n" not in str(caught.value)


def test_missing_file_and_foreign_model_are_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="cannot read the model .*nowhere.onnx"):
        Session(tmp_path / "nowhere.onnx", threads=1)
    foreign = read_proto(path)
    foreign.ClearField("metadata_props")
    with pytest.raises(FoundryError, match="carries no srfoundry card"):
        Session(foreign.SerializeToString(), threads=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_refused(path: Path) -> None:
    with pytest.raises(FoundryError, match="device cuda was asked for"):
        Session(path, threads=1, device="cuda")
    assert Session(path, threads=1, device="auto").device == "cpu"


def test_cuda_gives_the_same_image(path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    low = torch.rand(1, 3, 50, 70, generator=seeds.generator(0, "cuda")).numpy()
    session = Session(path, threads=1, device="cuda")
    assert session.device == "cuda"
    assert float(np.abs(session.run(low) - Session(path, threads=1, device="cpu").run(low)).max()) < 1e-5


def test_a_file_from_before_the_tile_error_is_read(path: Path) -> None:
    proto = read_proto(path)
    kept = [item for item in proto.metadata_props if item.key != "tile_error"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    session = Session(proto.SerializeToString(), threads=1)
    assert session.card.tile_error is None and session.card.overlap == tiny.describe().overlap


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("scale", "1000000000"), ("scale", "true"), ("multiple_of", "4611686018427387904"), ("tile", "0")),
        *(("metrics", "[" * 300 + "]" * 300), ("metrics", "[" * 100_000), ("metrics", "3"), ("outputs", '["other"]')),
        *(("overlap", "-1"), ("trained_for", "7"), ("name", "{")),
    ],
)
def test_a_card_of_strange_values_is_none(path: Path, name: str, value: str) -> None:
    model = read_proto(path)
    next(entry for entry in model.metadata_props if entry.key == name).value = value
    with pytest.raises(FoundryError, match="carries no srfoundry card"):
        Session(model.SerializeToString(), threads=1)


def test_a_card_that_is_no_text_is_none(path: Path) -> None:
    blob = path.read_bytes().replace(b'"prune"', b'"\xff\xfeune"')
    with pytest.raises(FoundryError, match="carries no srfoundry card"):
        Session(blob, threads=1)


def test_a_graph_that_fails_or_gives_another_size_is_named(path: Path) -> None:
    low = np.zeros((1, 3, 8, 8), np.float32)
    other = read_proto(path)
    next(entry for entry in other.metadata_props if entry.key == "scale").value = "3"
    with pytest.raises(FoundryError, match=r"must give an image of the shape \(1, 3, 24, 24\), got \(1, 3, 16, 16\)"):
        Session(other.SerializeToString(), threads=1).run(low)
    greedy = read_proto(path)
    greedy.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    with pytest.raises(FoundryError, match="does not run|is not a usable"):
        Session(greedy.SerializeToString(), threads=1).run(low)
