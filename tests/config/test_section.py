"""Sections of params.yaml: an object's values stand among the section's own, and come back as they were."""

import json
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from srfoundry.config.params import Params, check, load
from srfoundry.config.section import Inline, Section
from srfoundry.core.errors import FoundryError
from srfoundry.core.ranges import Rate, Steps
from tests.shipped import SHIPPED


@dataclass(frozen=True, kw_only=True)
class Course:
    """An object of settings."""

    steps: Steps
    rate: Rate


class Work(Section):
    """Two of the same kind, kept apart by a prefix, and a value under another name."""

    first: Annotated[Course, Inline()]
    second: Annotated[Course, Inline("second_", names={"rate": "pace"})]
    name: str


VALUES = {"steps": 3, "rate": 0.5, "second_steps": 4, "pace": 0.25, "name": "a"}


def test_values_are_gathered_into_objects_and_spread_again() -> None:
    """Flat to a person, objects to the code, and the same values back."""
    work = Work.model_validate_json(json.dumps(Work.gathered(VALUES)))
    assert work.first == Course(steps=3, rate=0.5) and work.second == Course(steps=4, rate=0.25)
    assert work.spread() == VALUES


def test_ranges_of_an_object_are_checked_and_its_keys_are_known() -> None:
    """Out of range, missing and unknown stop alike."""
    for wrong in ({"rate": 2.0}, {"second_rate": 0.1}, {"steps": 3.5}):
        with pytest.raises(ValidationError):
            Work.model_validate_json(json.dumps(Work.gathered(VALUES | wrong)))
    with pytest.raises(ValidationError):
        Work.model_validate_json(json.dumps(Work.gathered({"name": "a"})))


def test_problems_are_named_as_params_yaml_has_them() -> None:
    """No word of the object between section and value."""
    raw = YAML(typ="safe").load(SHIPPED.read_text())
    raw["dual"]["learning_rate"] = 7.0
    raw["metatrain"]["warmup_steps"] = -1
    del raw["prune"]["average"]
    with pytest.raises(FoundryError) as caught:
        check(raw, "params")
    said = str(caught.value)
    for where in ("dual.learning_rate: ", "metatrain.warmup_steps: ", "prune.average: missing"):
        assert where in said, said


def test_all_values_come_back_as_the_file_has_them() -> None:
    """Hashes and MLflow see params.yaml, whatever objects the code makes of it."""
    path = SHIPPED
    raw, found = YAML(typ="safe").load(path.read_text()), load(path).values()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(raw))
    assert set(found) == set(Params.model_fields)
