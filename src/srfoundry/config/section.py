"""What a section of params.yaml is: frozen, strict, and made of settings objects whose values stand side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Inline:
    """Marks a field of a section that is an object: its values stand in params.yaml among the section's own.

    So a schedule is one object to the code that takes it, and `dual.steps` to a person: no level between, no value
    spelled twice. `draw: Annotated[PatchDraw, Inline()]`.

    Args:
        prefix: of the values' names there: `warmup_` makes steps warmup_steps.
        names: of the values that have another name there, by the object's.
    """

    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict, hash=False)

    def key(self, name: str) -> str:
        """The name in params.yaml of a value of the object."""
        return self.names.get(name, self.prefix + name)


class Section(BaseModel):
    """A frozen section of params.yaml in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def inlined(cls) -> dict[str, dict[str, str]]:
        """For each field marked Inline: its object's fields by their names in params.yaml."""
        return {
            name: {mark.key(each.name): each.name for each in fields(info.annotation)}  # pyright: ignore[reportArgumentType]
            for name, info in cls.model_fields.items()
            for mark in info.metadata
            if isinstance(mark, Inline)
        }

    @classmethod
    def gathered(cls, values: Any) -> Any:
        """The values of params.yaml, those of inlined objects put together."""
        if not isinstance(values, dict):
            return values  # pydantic says what is wrong
        rest = dict(values)
        objects = {
            name: {field: rest.pop(key) for key, field in keys.items() if key in rest}
            for name, keys in cls.inlined().items()
        }
        return rest | objects

    def spread(self) -> dict[str, Any]:
        """The values as params.yaml has them."""
        whole = self.model_dump(mode="json")
        for name, keys in self.inlined().items():
            found = whole.pop(name)
            whole |= {key: found[field] for key, field in keys.items()}
        return whole
