"""The user's folders as inputs: whatever lies in them, DVC meets a list; and a second machine gets what is in them."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.support.graph import Graph
from pipelines.support.inputs import KNOWN, write_lists
from srfoundry.config import params
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.data import sources
from tests.conftest import REPO, wait_until
from tests.shipped import SHIPPED


def values(**source: Any) -> Params:
    """The repository's values, photographs from a folder."""
    whole = params.load(SHIPPED)
    photographs = replace(whole.synthesize.photographs, **{"source": "folder", "smallest": 32, **source})
    return whole.model_copy(update={"synthesize": whole.synthesize.model_copy(update={"photographs": photographs})})


def photographs(root: Path, *names: str) -> Path:
    """A folder of photographs that differ."""
    folder = root / "inputs" / "photographs"
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.effect_noise((48, 40), 20 + 30 * index).convert("RGB").save(folder / name)
    return folder


def listed(root: Path, name: str = "photographs") -> dict[str, str]:
    """What stages depend on."""
    return json.loads((root / "results" / "environment" / f"{name}.json").read_text())


def mess(folder: Path) -> list[str]:
    """What people's folders hold beside photographs; the names of what cannot be one."""
    (folder / ".DS_Store").write_bytes(b"desk")
    (folder / "notes.txt").write_text("no photograph")
    (folder / "round").symlink_to(folder)
    (folder / "gone.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "itself.png").symlink_to(folder / "itself.png")
    os.mkfifo(folder / "pipe.png")
    raw = os.fsencode(folder) + b"/caf\xe9.jpg"
    shutil.copy(os.fsencode(folder / "a.png"), raw)
    return ["gone.jpg", "itself.png", "pipe.png", os.fsdecode(b"caf\xe9.jpg")]


def test_lists_hold_what_can_be_read_and_why_the_rest_cannot(tmp_path: Path) -> None:
    """Links to nothing, loops, pipes, names that are no text: no error, no waiting; desktops' files are no input."""
    folder = photographs(tmp_path, "a.png", "b/c.png")
    write_lists(tmp_path, values())
    before = listed(tmp_path)
    assert list(before) == ["a.png", "b/c.png"] and all(len(md5) == 32 for md5 in before.values())
    unusable = mess(folder)
    write_lists(tmp_path, values())
    found = listed(tmp_path)
    assert set(found) == {*before, *unusable} and before.items() <= found.items()
    assert found["pipe.png"] == "no file" and found["gone.jpg"].startswith("unreadable: ")
    assert listed(tmp_path, "kernels") == listed(tmp_path, "unpaired") == {}


def test_lists_follow_contents_alone(tmp_path: Path) -> None:
    """A copy elsewhere, with other times, is the same; another byte is not; nothing is hashed twice for nothing."""
    for place in ("here", "there"):
        photographs(tmp_path / place, "a.png", "b.png")
        shutil.rmtree(tmp_path / "there" / "inputs", ignore_errors=True)
    shutil.copytree(tmp_path / "here" / "inputs", tmp_path / "there" / "inputs", copy_function=shutil.copy)
    for place in ("here", "there"):
        write_lists(tmp_path / place, values())
    first = listed(tmp_path / "here")
    assert first == listed(tmp_path / "there")
    known = json.loads((tmp_path / "here" / KNOWN).read_text())
    marked = {name: [*mark[:3], "0" * 32] for name, mark in known.items()}
    (tmp_path / "here" / KNOWN).write_text(json.dumps(marked))
    write_lists(tmp_path / "here", values())
    assert set(listed(tmp_path / "here").values()) == {"0" * 32}, "a file that did not move was read again"
    with (tmp_path / "there" / "inputs" / "photographs" / "a.png").open("ab") as file:
        file.write(b"more")
    write_lists(tmp_path / "there", values())
    assert listed(tmp_path / "there")["a.png"] != first["a.png"]


@pytest.mark.parametrize(("folder", "said"), [("nowhere", "nowhere is not a folder"), ("empty", "holds no photograph")])
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, folder: str, said: str) -> None:
    """Where it is asked for; bundled photographs need none."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(FoundryError, match=said):
        write_lists(tmp_path, values(folder=folder))
    write_lists(tmp_path, values(folder=folder, source="bundled"))
    assert listed(tmp_path) == {}


def test_a_folder_that_cannot_be_read_names_its_key(tmp_path: Path) -> None:
    """Whichever of the four it is."""
    whole, none = values(source="bundled"), str(tmp_path / "none")
    kernels = replace(whole.synthesize.blur, kernels=none)
    wrong = {
        "synthesize.folder": values(folder=none),
        "synthesize.kernels": whole.model_copy(
            update={"synthesize": whole.synthesize.model_copy(update={"blur": kernels})}
        ),
        "dual.unpaired": whole.model_copy(
            update={"dual": whole.dual.model_copy(update={"unpaired": none, "unpaired_share": 0.5})}
        ),
        "evaluate.real": whole.model_copy(update={"evaluate": whole.evaluate.model_copy(update={"real": none})}),
    }
    for key, each in wrong.items():
        with pytest.raises(FoundryError, match=f"^{key}: {none} is not a folder"):
            write_lists(tmp_path, each)


def test_real_photographs_are_an_input_of_the_evaluation_alone(tmp_path: Path) -> None:
    """A folder of one's own is listed; the ones inside the packages are none."""
    photographs(tmp_path, "a.png")
    shown = values().evaluate
    for real, expected in (("bundled", []), ("inputs/photographs", ["a.png"])):
        write_lists(tmp_path, values().model_copy(update={"evaluate": shown.model_copy(update={"real": real})}))
        assert list(listed(tmp_path, "real")) == expected


def test_the_network_of_a_stage_beside_the_graph_is_an_input_where_it_is_used(tmp_path: Path) -> None:
    """Else it could be trained again, and its estimates would stay."""
    whole = values(source="bundled")
    unfolded = whole.model_copy(update={"estimate": whole.estimate.model_copy(update={"method": "unfolded"})})
    write_lists(tmp_path, unfolded)
    assert listed(tmp_path, "unfolded") == {}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "unfolded.safetensors").write_bytes(b"weights")
    write_lists(tmp_path, whole)
    assert listed(tmp_path, "unfolded") == {}
    write_lists(tmp_path, unfolded)
    assert listed(tmp_path, "unfolded") == {"unfolded.safetensors": hashlib.md5(b"weights").hexdigest()}
    assert "results/environment/unfolded.json" in Graph(REPO).inputs("estimate")


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Among photographs they are an input, which synthesize skips by name or stops at; elsewhere a line says it."""
    folder = photographs(tmp_path, "a.png")
    (folder / "b.HEIC").write_bytes(b"heic")
    write_lists(tmp_path, values())
    assert list(listed(tmp_path)) == ["a.png", "b.HEIC"] and capsys.readouterr().err == ""
    whole = values()
    real = {"evaluate": whole.evaluate.model_copy(update={"real": "inputs/photographs"})}
    unpaired = {"unpaired": "inputs/photographs", "unpaired_share": 0.5}
    for name, other in (("real", real), ("unpaired", {"dual": whole.dual.model_copy(update=unpaired)})):
        write_lists(tmp_path, whole.model_copy(update=other))
        assert list(listed(tmp_path, name)) == ["a.png"]
        assert "left out: 1 .heic, which are not read" in capsys.readouterr().err


def test_an_experiment_that_has_no_copy_says_how_it_gets_one(tmp_path: Path) -> None:
    """The folder is full where the person looks: "put files there" would be no advice."""
    copy = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    with pytest.raises(FoundryError, match=r"dvc add inputs/photographs, or start the experiment with -C inputs/photo"):
        write_lists(copy, values())
    with pytest.raises(FoundryError, match="is not a folder"):
        write_lists(copy, values(folder=str(tmp_path / "elsewhere")))


def test_values_that_are_no_folder_stop_in_one_line(tmp_path: Path) -> None:
    """`synthesize.folder: ~`, or none: said by name before DVC looks at anything."""
    text = SHIPPED.read_text()
    line = next(each for each in text.splitlines() if each.startswith("  folder: "))
    for other, said in (("  folder: ~", "synthesize.folder"), ("", "synthesize.folder: missing")):
        (tmp_path / "params.yaml").write_text(text.replace(line, other))
        command = [sys.executable, "-m", "pipelines.environment"]
        paths = os.pathsep.join([str(REPO / "src"), str(REPO)])
        environment = os.environ | {"PYTHONPATH": paths}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_what_cannot_be_used_is_skipped_or_stops_by_name(tmp_path: Path) -> None:
    """As `on_bad_image` has it, one plain line each."""
    unusable = mess(photographs(tmp_path, "a.png", "b.png"))
    kept = sources.gather(
        sources.listed(values().synthesize.photographs, tmp_path),
        values(on_bad_image="skip").synthesize.photographs,
        mapped=threads(2),
    )
    assert set(kept.photographs) == {"a", "b"} and len(kept.skipped) == len(unusable)
    assert {"gone.jpg", "itself.png", "pipe.png"} <= set(kept.skipped)
    assert all(name.isprintable() and reason.isprintable() for name, reason in kept.skipped.items())
    with pytest.raises(FoundryError, match=r"on_bad_image to skip") as caught:
        wanted = values(on_bad_image="stop").synthesize.photographs
        sources.gather(sources.listed(wanted, tmp_path), wanted, mapped=threads(2))
    assert "\n" not in str(caught.value)


GRAPH = """stages:
  environment:
    cmd: python -m pipelines.environment
    always_changed: true
    outs:
      - results/environment/photographs.json: {cache: false}
  synthesize:
    cmd: python -c "import shutil; shutil.copytree('inputs/photographs', 'data')"
    deps: [results/environment/photographs.json]
    outs: [data]
"""


def test_a_second_machine_gets_the_photographs(tmp_path: Path) -> None:
    """`dvc add` of the folder, push; clone, pull: then nothing is stale. A temporary experiment has them, too."""
    first, second = tmp_path / "first", tmp_path / "second"
    photographs(first, "a.png", "b/c.png", "d.png")
    (first / ".dvc").mkdir()
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "inputs/README.md"):
        shutil.copy(REPO / name, first / name)
    (first / "dvc.yaml").write_text(GRAPH)
    text = SHIPPED.read_text().replace("source: bundled", "source: folder")
    text = re.sub(r"held_out: \[.*?\]", "held_out: [a]", re.sub(r"validation: \[.*?\]", "validation: [d]", text))
    (first / "params.yaml").write_text(re.sub(r"smallest: \d+", "smallest: 32", text))
    paths = os.pathsep.join([str(REPO / "src"), str(REPO)])
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": paths, "PATH": binaries}
    environment |= {f"GIT_{who}_{what}": "x@y.z" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(place: Path, *command: str) -> str:
        words = [sys.executable, "-m", *command] if command[0] == "dvc" else [*command]
        done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(first, "git", "init", "-q")
    run(first, "dvc", "remote", "add", "-d", "store", str(tmp_path / "remote"))
    run(first, "dvc", "add", "-q", "inputs/photographs")
    run(first, "dvc", "repro", "-q")
    run(first, "git", "add", "-A")
    held = run(first, "git", "ls-files")
    assert "inputs/photographs.dvc" in held and "a.png" not in held
    run(first, "git", "commit", "-qm", "photographs")
    run(first, "dvc", "push", "-q")
    run(tmp_path, "git", "clone", "-q", str(first), str(second))
    run(second, "dvc", "pull", "-q")
    said = run(second, "dvc", "repro")
    assert [line for line in said.splitlines() if "Running stage" in line] == ["Running stage 'environment':"]
    assert (second / "inputs" / "photographs" / "b" / "c.png").read_bytes()
    run(second, "dvc", "exp", "run", "-q", "--temp", "-S", "shared.seed=7")
    for seed in (8, 9):
        run(second, "dvc", "exp", "run", "--queue", "-S", f"shared.seed={seed}")
    run(second, "dvc", "queue", "start", "--jobs", "2")
    run(second, "dvc", "--wait-for-lock", "repro", "--force", "synthesize")  # beside the experiments
    wait_until(lambda: run(second, "dvc", "queue", "status").count("Success") == 2)
