"""Bad values stop everything before any work starts, all of them at once, each by its key."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from tests.shipped import SHIPPED, shipped


def changed(folder: Path, **values: object) -> Path:
    """The repository's params.yaml with `section__key` values replaced, or removed where None."""
    whole = YAML(typ="safe").load(SHIPPED.read_text())
    for name, value in values.items():
        section, key = name.split("__")
        if value is None:
            del whole[section][key]
        else:
            whole[section][key] = value
    path = folder / "params.yaml"
    with path.open("w") as file:
        YAML().dump(whole, file)
    return path


def test_the_repositorys_own_values_are_good() -> None:
    assert params.load(SHIPPED).shared.scale == 2


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, dual__dual_wieght=0.1, dual__batch=0, shared__scale=5, pretrain__width=None)
    with pytest.raises(FoundryError) as caught:
        params.load(path)
    text = str(caught.value)
    for part in ("dual.dual_wieght: unknown key", "dual.batch", "got 0", "shared.scale", "pretrain.width: missing"):
        assert part in text
    lines = text.splitlines()
    assert len(lines) == 5 and lines[0].endswith("has 4 mistakes; mend them:"), "a line each, where there are many"


def test_a_file_of_some_values_is_laid_over_the_projects(tmp_path: Path) -> None:
    """Mappings within sections, too; a list is a value. Alone it is no params file, which takes few lines to say."""
    few, own = tmp_path / "few.yaml", SHIPPED
    few.write_text("dual: {steps: 7}\nsynthesize: {bank: {line: 3}, held_out: [coffee]}\n")
    found, before = params.load(few, over=own).values(), params.load(own).values()
    before["dual"]["steps"], before["synthesize"]["held_out"] = 7, ["coffee"]
    before["synthesize"]["bank"]["line"] = 3
    assert found == before
    for over in (None, tmp_path / "params.yaml"):
        with pytest.raises(FoundryError, match=r"few.yaml has \d+ mistakes") as caught:
            params.load(few, over=over)
        assert "shared: missing" in str(caught.value) and len(str(caught.value).splitlines()) == 12
    few.write_text("dual: {stpes: 7}\n")
    with pytest.raises(FoundryError, match=r"few.yaml: dual.stpes: unknown key"):
        params.load(few, over=own)
    few.write_text("")
    with pytest.raises(FoundryError, match="got an empty file"):
        params.load(few, over=own)


@pytest.mark.parametrize(
    "values",
    [
        {"shared__seed": -1},
        {"shared__device": "gpu"},
        {"pretrain__learning_rate": 5},
        {"pretrain__learning_rate": "1e-3x"},
        {"synthesize__kernel_size": 14},
        {"synthesize__held_out": 1.5},
        {"synthesize__held_out": []},
        {"metatrain__order": "third"},
        {"metatrain__rates": []},
        {"metatrain__scales": [0.5]},
        {"metatrain__held_out": 1.0},
        {"metatrain__sons": 0},
        {"pretrain__schedule": "constant"},
        {"prune__steps": 1.5},
        {"shared__threads": 100_000},  # no machine has them, and libraries end without a word where they ask for them
        {"distributed__processes": 100_000},
    ],
)
def test_out_of_range_values_stop(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(FoundryError, match=next(iter(values)).replace("__", ".")):
        params.load(changed(tmp_path, **values))


def test_values_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        FoundryError, match=r"multiples of shared.scale 3, got pretrain.patch 64, metatrain.warmup_patch 64, .*square"
    ):
        params.load(changed(tmp_path, shared__scale=3))
    with pytest.raises(FoundryError, match=r"got kernel_step.patch 310 \(of 2, 3, 4\)"):
        params.load(changed(tmp_path, kernel_step__patch=310))
    assert params.load(changed(tmp_path, kernel_step__patch=310, kernel_step__scales=[2])).kernel_step.draw.patch == 310
    with pytest.raises(FoundryError, match=r"got .*kernel_step.patch 310 \(of 2, 3\)"):  # photographs are reduced by 3
        params.load(changed(tmp_path, shared__scale=3, kernel_step__patch=310, kernel_step__scales=[2]))
    with pytest.raises(FoundryError, match=r"metatrain: .*scales between whole numbers, got \[2.2\]"):
        params.load(changed(tmp_path, metatrain__scales=[2.0, 2.2], metatrain__enlargement="linear"))
    with pytest.raises(FoundryError, match=r"metatrain.scales must begin with shared.scale 2, .*got 4.0"):
        params.load(changed(tmp_path, metatrain__scales=[4.0, 2.0], metatrain__support="patches"))
    with pytest.raises(FoundryError, match=r"metatrain: .*rates up to 0.02 are those of plain descent"):
        params.load(changed(tmp_path, metatrain__rates=[0.02] * 10, metatrain__descent="adam"))
    with pytest.raises(FoundryError, match=r"synthesize: .*leave photographs to train on, got \[0.6, 0.5\]"):
        params.load(changed(tmp_path, synthesize__held_out=0.6, synthesize__validation=0.5))
    with pytest.raises(FoundryError, match="compress.method msgc needs search.measure parameters or macs, got latency"):
        params.load(changed(tmp_path, compress__method="msgc", search__measure="latency"))
    several = {"metatrain__scales": [2.0, 2.2], "metatrain__enlargement": "bicubic"}
    with pytest.raises(FoundryError, match="support self_pair takes one scale"):
        params.load(changed(tmp_path, **several))
    many = params.load(changed(tmp_path, metatrain__support="patches", **several))
    assert many.metatrain.degradations.scales == [2.0, 2.2]


def test_processes_and_their_threads_are_counted_together(tmp_path: Path) -> None:
    """Each within its range may still be more than a machine has room for."""
    many: dict[str, object] = {f"{name}__batch": 64 for name in ("pretrain", "dual", "search", "prune", "nonblind")}
    many |= {"metatrain__warmup_batch": 64, "photo__batch": 128}
    with pytest.raises(FoundryError, match=r"shared.threads times distributed.processes must be 1024 or less, got 256"):
        params.load(changed(tmp_path, shared__threads=256, distributed__processes=64, **many))
    assert params.load(changed(tmp_path, shared__threads=16, distributed__processes=64, **many)).shared.threads == 16


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"distributed__processes": 5}, r"distributed.processes 5 .*pretrain.batch \(4 for 5\)"),
        ({"distributed__accumulate": 17}, r"accumulate 17 .*dual.batch \(16 for 17\)"),
        ({"distributed__accumulate": 4, "dual__unpaired_share": 0.9}, r"dual.batch without .* \(2 for 4\)"),
        ({"distributed__processes": 2, "metatrain__steps": 1, "metatrain__tasks": 1}, r"metatrain.tasks \(1 for 2\)"),
    ],
)
def test_a_batch_has_a_row_for_every_part(tmp_path: Path, values: dict[str, object], said: str) -> None:
    """Before any process starts: which of several would say it is chance."""
    with pytest.raises(FoundryError, match=said):
        params.load(changed(tmp_path, **values))


def test_a_folder_at_home_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell; any other is below the project."""
    monkeypatch.setenv("HOME", "/home/ada")
    keys = ("synthesize__folder", "synthesize__kernels", "dual__unpaired", "evaluate__real")
    found = params.load(changed(tmp_path, **dict.fromkeys(keys, "~/Pictures")))
    folders = [found.synthesize.photographs.folder, found.synthesize.blur.kernels]
    assert {*folders, found.dual.unpaired, found.evaluate.real} == {"/home/ada/Pictures"}
    assert params.load(SHIPPED).synthesize.photographs.folder == "inputs/photographs"


def test_what_is_not_trained_has_no_rows(tmp_path: Path) -> None:
    assert params.load(changed(tmp_path, distributed__processes=2, metatrain__tasks=1)).distributed.processes == 2
    alone = {"search__order": "second", "search__batch": 1}  # in whose search all rows are one graph
    assert params.load(changed(tmp_path, distributed__accumulate=2, **alone)).distributed.accumulate == 2


@pytest.mark.parametrize(("text", "said"), [("a: [1", "YAML"), ("", "params"), ("- 1", "params")])
def test_what_is_no_params_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(FoundryError, match=said):
        params.load(path)
    with pytest.raises(FoundryError, match="not found"):
        params.load(tmp_path / "none.yaml")


def test_a_sections_hash_knows_only_its_section(tmp_path: Path) -> None:
    before, after = params.load(SHIPPED), params.load(changed(tmp_path, dual__steps=7))
    assert before.section_hash("dual") != after.section_hash("dual")
    assert before.section_hash("pretrain") == after.section_hash("pretrain")


def test_tests_take_the_values_that_git_has(tmp_path: Path) -> None:
    file = Path(shutil.copy(SHIPPED, tmp_path))
    before = file.read_text()
    own = before.replace("source: bundled", "source: folder").replace("seed: 1 ", "seed: 7 ")
    file.write_text(own)
    assert shipped(tmp_path) == own.encode(), "no git"
    file.write_text(before)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "as it comes"]):
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *author, *command], cwd=tmp_path, check=True)
    file.write_text(own)
    assert shipped(tmp_path) == before.encode()
    committed = before.replace("  seed: 1 ", "  sead: 1 ")  # a key of a section's class that has changed since
    file.write_text(committed)
    subprocess.run(["git", *author, "commit", "-qam", "before"], cwd=tmp_path, check=True)
    file.write_text(own)
    load = YAML(typ="safe").load
    assert load(shipped(tmp_path)) == load(own.replace("source: folder", "source: bundled"))
