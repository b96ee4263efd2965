"""Presets: each gives a good params.yaml, changes what it says and nothing else, and leaves the comments alone."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines.support import preset
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo.architectures import build
from tests.conftest import REPO
from tests.shipped import SHIPPED
from tests.stages import LESS, folder, run
from tests.tiny_graph import STAGES

BASES = ["paper", "laptop"]
OVERLAYS = {"direct_x3": "paper", "direct_x4": "paper", "bicubic_x2": "paper", "multiscale": "paper"}
OVERLAYS |= {"laptop_bicubic": "laptop"}
TIMES = ["minutes", "hour", "night"]
SMOKE = "smoke"
ALONE = ["motion"]  # of a section that no base sets
BUDGETS = {"div2k_x2": ["paper"], "div2k_x4": ["paper", "direct_x4"]}  # with MZSR's values as these have them
LARGE = [["div2k_x2"], ["div2k_x4"], ["div2k_x4", "div2k_x8"], ["div2k_x2", "eight_gpus"], ["div2k_x4", "eight_gpus"]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(SHIPPED, tmp_path)
    shutil.copytree(REPO / "params", tmp_path / "params")
    return tmp_path


def comments(path: Path) -> list[str]:
    return re.findall(r"#.*", path.read_text())


def test_every_preset_is_tried_here() -> None:
    assert sorted(preset.titles(REPO)) == sorted(
        [*BASES, *OVERLAYS, *TIMES, SMOKE, *ALONE, *BUDGETS, "div2k_x8", "eight_gpus"]
    )
    assert all(len(title) > 20 for title in preset.titles(REPO).values())


@pytest.mark.parametrize("names", [[base] for base in BASES] + [[base, overlay] for overlay, base in OVERLAYS.items()])
def test_presets_are_good_keep_the_comments_and_are_written_once(root: Path, names: list[str]) -> None:
    before = params.load(root / "params.yaml").model_dump()
    said = preset.apply(names, root)
    after = params.load(root / "params.yaml").model_dump()
    assert comments(root / "params.yaml") == comments(SHIPPED)
    lines = len(SHIPPED.read_text().splitlines())
    assert len((root / "params.yaml").read_text().splitlines()) == lines
    changed = {section for section in before if before[section] != after[section]}
    assert changed == {line.partition(".")[0] for line in said} and changed <= {
        "shared", "synthesize", "pretrain", "metatrain"
    }  # fmt: skip
    text = (root / "params.yaml").read_bytes()
    assert preset.apply(names, root) == [] and (root / "params.yaml").read_bytes() == text


@pytest.mark.parametrize("names", LARGE, ids=" ".join)
def test_the_papers_budgets_can_be_set(root: Path, names: list[str]) -> None:
    preset.apply(["laptop"], root)
    preset.apply(names, root)
    made = params.load(root / "params.yaml")
    net = build(made.dual.archs(made.shared.scale)[0])
    name = next(name for name in reversed(names) if name != "eight_gpus")
    published = {"div2k_x2": 1_369_859, "div2k_x4": 4_804_041, "div2k_x8": 5_402_976}[name]
    assert made.distributed.processes == (8 if "eight_gpus" in names else 1)
    assert made.dual.draw.batch % (made.distributed.processes * made.distributed.accumulate) == 0
    assert sum(weight.numel() for weight in net.parameters() if weight.requires_grad) == published
    assert made.dual.descent.steps >= 300_000 and made.dual.descent.learning_rate == 1e-4
    assert made.photo.over(made.dual).archs(made.shared.scale)[0] == made.dual.archs(made.shared.scale)[0]
    assert comments(root / "params.yaml") == comments(SHIPPED)


@pytest.mark.parametrize("name", BUDGETS)
def test_their_mzsr_is_the_paper_presets(tmp_path: Path, name: str) -> None:
    values = []
    for names in (BUDGETS[name], [name]):
        shutil.copy(SHIPPED, tmp_path)
        shutil.copytree(REPO / "params", tmp_path / "params", dirs_exist_ok=True)
        preset.apply(names, tmp_path)
        whole = params.load(tmp_path / "params.yaml").values()
        values.append({section: whole[section] for section in ("pretrain", "metatrain")})
    assert values[0] == values[1]


ONE_STEP: dict[str, dict[str, Any]] = {  # papers' networks and rates; their patches, batches and steps fill a GPU
    "distributed": {"accumulate": 1},
    "pretrain": {"steps": 1, "patch": 32, "batch": 1},
    "metatrain": {"warmup_steps": 1, "warmup_patch": 32, "warmup_batch": 1, "steps": 1, "tasks": 1, "shots": 1}
    | {"inner_steps": 1},
    "dual": {"steps": 1, "patch": 32, "batch": 1},
    "search": {"steps": 1, "patch": 32, "batch": 1, "remove": 0.3, "tolerance": 0.3},
    "prune": {"steps": 1, "patch": 32, "batch": 1},
    "compress": {"search_steps": 1, "steps": 1},
    "photo": {"steps": 1, "patch": 32, "batch": 2},
    "photo_compress": {"search_steps": 1, "steps": 1},
    "diffuse": {"steps": 1, "patch": 32, "batch": 1}
    | {"sampler": {"evaluations": 2, "start": 0.4, "guidance": 1.0, "renoise": 1.0, "floor": 0.002, "learn": 0.8}},
    "nonblind": {"steps": 1, "patch": 32, "batch": 1, "samples": 40, "sample_patch": 32, "corrector_steps": 1}
    | {"classifier_windows": 40, "classifier_steps": 1},
}
NO_OTHER = ("compress@70", "estimate", "evaluate", "export")  # what trains nothing, or as another that is there


@pytest.mark.parametrize("name", BUDGETS)
def test_one_step_of_each_training_at_the_papers_networks(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path, {"coffee": 136, "rocket": 136, "china": 96, "ihc": 96})
    preset.apply([name], _beside(tmp_path / "preset"))
    values = params.load(tmp_path / "preset/params.yaml").values()
    source = {"synthesize": LESS["synthesize"], "shared": {"precision": "float32"}}
    for stage in [*(each for each in STAGES if each not in NO_OTHER), "diffuse"]:
        run(stage, root, values, source, ONE_STEP)
    assert len(list((root / "models").glob("*.safetensors"))) >= 7


def _beside(root: Path) -> Path:
    root.mkdir()
    shutil.copy(SHIPPED, root)
    shutil.copytree(REPO / "params", root / "params")
    return root


def keys(name: str) -> set[str]:
    """The values that a preset sets, as section.key."""
    made = YAML(typ="safe").load((REPO / "params" / f"{name}.yaml").read_text())
    return {f"{section}.{key}" for section, values in made.items() for key in values}


@pytest.mark.parametrize("name", ALONE)
def test_a_preset_of_one_section_leaves_the_others(root: Path, name: str) -> None:
    before = params.load(root / "params.yaml").model_dump()
    preset.apply([name], root)
    after = params.load(root / "params.yaml").model_dump()
    assert {section for section in before if before[section] != after[section]} == {"estimate"}


@pytest.mark.parametrize("base", BASES)
def test_a_base_sets_all_that_any_preset_sets(base: str) -> None:
    """So it is what it says, whatever preset came before."""
    assert not set().union(*(keys(name) for name in [*BASES, *OVERLAYS])) - keys(base)


def test_times_set_the_same_values_and_minutes_is_what_git_holds(root: Path) -> None:
    """So each of them undoes the others, whatever came before."""
    assert keys("minutes") == keys("hour") == keys("night")
    text = (root / "params.yaml").read_bytes()
    assert preset.apply(["minutes"], root) == []
    steps = [params.load(root / "params.yaml").dual.descent.steps]
    for name in ("hour", "night"):
        assert preset.apply([name], root)
        steps.append(params.load(root / "params.yaml").dual.descent.steps)
    assert steps == sorted(steps)
    preset.apply(["minutes"], root)
    assert (root / "params.yaml").read_bytes() == text


def test_smoke_trains_next_to_nothing_on_any_photographs(root: Path) -> None:
    """Whatever time was set before, and without names of photographs, which a folder may not have."""
    assert keys(SMOKE) - keys("minutes") == {"synthesize.held_out", "synthesize.validation"}
    assert keys("minutes") <= keys(SMOKE)
    preset.apply(["night", SMOKE], root)
    made = params.load(root / "params.yaml")
    assert made.dual.descent.steps <= 10 and made.nonblind.corrector.steps <= 10
    assert all(isinstance(share, float) for share in (made.synthesize.split.held_out, made.synthesize.split.validation))


def test_what_runs_unattended_leaves_out_what_it_cannot_read(root: Path) -> None:
    for name, wanted in (("minutes", "stop"), ("hour", "skip"), ("night", "skip"), (SMOKE, "skip")):
        preset.apply([name], root)
        assert params.load(root / "params.yaml").synthesize.photographs.on_bad_image == wanted


def test_the_paper_is_the_papers(root: Path) -> None:
    preset.apply(["laptop"], root)
    said = preset.apply(["paper"], root)
    assert "metatrain.inner_rate: 0.01  (paper)" in said
    made = params.load(root / "params.yaml")
    assert (made.metatrain.draw.tasks, made.metatrain.draw.shots, made.metatrain.inner.steps) == (5, 8, 5)
    assert made.pretrain.schedule == "staircase" and made.metatrain.inner.loss_weights == "uniform"
    assert made.synthesize.blur.bank.noisy == 0, "what another preset wrote is gone"


def test_later_presets_win(root: Path) -> None:
    preset.apply(["paper", "direct_x4"], root)
    assert params.load(root / "params.yaml").metatrain.adaptation.rates[:2] == [0.01, 0.005]
    preset.apply(["direct_x4", "paper"], root)
    assert params.load(root / "params.yaml").metatrain.adaptation.rates[:2] == [0.02, 0.01]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dual:\n  wieght: 1\n", "preset mine: dual.wieght: unknown key"),
        ("duel:\n  steps: 1\n", "preset mine: duel: unknown key"),
        ("dual:\n  steps: -1\n", "dual.steps"),
        ("shared:\n  scale: 3\n", "pretrain.patch 64"),
        ("dual: 3\n", "must hold sections"),
        ("dual: [3\n", "not valid YAML"),
        ("", "must hold sections"),
    ],
)
def test_mistakes_are_named_and_change_nothing(root: Path, text: str, said: str) -> None:
    (root / "params" / "mine.yaml").write_text(text)
    with pytest.raises(FoundryError, match=re.escape(said)):
        preset.apply(["mine"], root)
    assert (root / "params.yaml").read_bytes() == SHIPPED.read_bytes()


def test_unknown_presets_are_told_the_known(root: Path) -> None:
    with pytest.raises(FoundryError, match="pear not found.*laptop.*paper"):
        preset.apply(["laptop", "pear"], root)
    with pytest.raises(FoundryError, match=r"git checkout params\.yaml"):
        preset.apply(["default"], root)


def test_it_says_what_it_does(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(root)
    preset.main([])
    assert "laptop" in capsys.readouterr().out
    preset.main(["direct_x4"])
    assert "shared.scale: 4  (direct_x4)" in capsys.readouterr().out
    preset.main(["direct_x4"])
    assert "nothing to change" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        preset.main(["pear"])
    assert capsys.readouterr().err.startswith("error: preset pear not found")


def test_whoever_is_interrupted_keeps_the_former_values_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (root / "params.yaml").read_bytes()

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("srfoundry.core.atomic.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preset.apply(["paper"], root)
    assert (root / "params.yaml").read_bytes() == before
