"""The one reader of params.yaml: every value typed, bounded and present, or nothing starts."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from srfoundry.config import sections, yaml_files
from srfoundry.config.section import Section
from srfoundry.core.errors import FoundryError

# Sections whose patches are reduced.
REDUCED = ("pretrain", "metatrain", "dual", "search", "prune", "photo", "nonblind", "diffuse", "kernel_step")

FOLDERS = {("synthesize", "folder"), ("synthesize", "kernels"), ("dual", "unpaired"), ("evaluate", "real")}
FEW, MOST_NAMED = 3, 10  # problems in one line, and in one message
MOST_TOGETHER = 1024  # threads of all processes of a training, on whatever machine


class Params(Section):
    """The whole of params.yaml."""

    shared: sections.Shared
    distributed: sections.Distributed
    synthesize: sections.Synthesize
    pretrain: sections.Pretrain
    metatrain: sections.Metatrain
    degrade: sections.Degrade
    dual: sections.Dual
    search: sections.Search
    prune: sections.Prune
    compress: sections.Compress
    photo: sections.Photo
    photo_compress: sections.PhotoCompress
    nonblind: sections.Nonblind
    estimate: sections.Estimate
    diffuse: sections.Diffuse
    unfolded: sections.Unfolded
    kernel_step: sections.KernelStep
    fusion: sections.Fusion
    beamform: sections.Beamform
    evaluate: sections.Evaluate
    export: sections.Export

    @model_validator(mode="after")
    def _wide_enough(self) -> "Params":
        least = 2 * self.shared.scale + 5
        if self.synthesize.blur.kernel_size < least:
            raise ValueError(
                f"synthesize.kernel_size must be {least} or more at scale {self.shared.scale}, so that kernels fit in, "
                f"got {self.synthesize.blur.kernel_size}"
            )
        return self

    @model_validator(mode="after")
    def _bank_first(self) -> "Params":
        scales = self.metatrain.degradations.scales
        if scales and scales[0] != self.shared.scale:
            raise ValueError(
                f"metatrain.scales must begin with shared.scale {self.shared.scale}, which the kernels are drawn for, "
                f"got {scales[0]}"
            )
        return self

    @model_validator(mode="after")
    def _counted(self) -> "Params":
        if self.compress.method == "msgc" and self.search.target.measure == "latency":
            raise ValueError("compress.method msgc needs search.measure parameters or macs, got latency; choose one")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> "Params":
        threads, processes = self.shared.threads, self.distributed.processes
        if threads * processes > MOST_TOGETHER:
            raise ValueError(
                f"shared.threads times distributed.processes must be {MOST_TOGETHER} or less, got {threads} times "
                f"{processes}; lower one of them"
            )
        return self

    @model_validator(mode="after")
    def _dealt(self) -> "Params":
        """Every process, and every part that it computes after another, has a row of each batch."""
        short = [f"{name} ({rows} for {parts})" for name, rows, parts in self._rows() if rows < parts]
        if short:
            raise ValueError(
                f"a batch must have a row for each of distributed.processes {self.distributed.processes} and each of "
                f"their accumulate {self.distributed.accumulate} parts, got {', '.join(short)}; raise these, or lower "
                "distributed.processes or distributed.accumulate"
            )
        return self

    def _rows(self) -> list[tuple[str, int, int]]:
        """Of the batches of `dvc repro`: name, rows, and the parts that they are dealt to."""
        processes, all_parts = self.distributed.processes, self.distributed.processes * self.distributed.accumulate
        searched = all_parts if self.search.model.order == "first" else processes  # one graph is over all rows
        unpaired = self.dual.unpaired_share
        found = [
            ("pretrain.batch", self.pretrain.training.batch, all_parts),
            ("metatrain.warmup_batch", self.metatrain.warmup.batch, all_parts),
            ("search.batch", self.search.draw.batch, searched),
            ("prune.batch", self.prune.draw.batch, all_parts),
            ("nonblind.batch", self.nonblind.draw.batch, all_parts),
        ]
        for name, draw in (("dual", self.dual.draw), ("photo", self.photo.draw)):
            without = " without its unpaired images" if unpaired else ""
            found.append((f"{name}.batch{without}", draw.batch - round(draw.batch * unpaired), all_parts))
        if self.metatrain.outer.steps:
            found.append(("metatrain.tasks", self.metatrain.draw.tasks, processes))
        return found

    @model_validator(mode="after")
    def _divisible(self) -> "Params":
        """Patches are cut so that a reduction's pixels lie on the photograph's."""
        scale, whole = self.shared.scale, self.values()
        meta = whole["metatrain"]
        own = {  # sections whose patches are reduced at other scales than the shared one, or at more
            "metatrain": {scale, *(int(one) for one in meta["scales"] if meta["enlargement"] == "linear")},
            "kernel_step": {scale, *self.kernel_step.scales},
        }
        odd = [
            f"{section}.{key} {value}" + ("" if scales == {scale} else f" (of {', '.join(map(str, sorted(scales)))})")
            for section in REDUCED
            for scales in [own.get(section, {scale})]
            for key, value in whole[section].items()
            if key in ("patch", "warmup_patch", "sample_patch") and any(value % one for one in scales)
        ]
        if meta["support"] == "self_pair" and meta["patch"] % scale**2:
            odd.append(f"metatrain.patch {meta['patch']} (of the scale's square, for support self_pair)")
        if odd:
            raise ValueError(f"patches must be multiples of shared.scale {scale}, got {', '.join(odd)}; change them")
        if meta["self_pairs"] > scale**2:
            raise ValueError(f"metatrain.self_pairs must be 1 to {scale**2} at scale {scale}, got {meta['self_pairs']}")
        return self

    def values(self) -> dict[str, dict[str, Any]]:
        """All values as params.yaml has them, by section."""
        return {name: getattr(self, name).spread() for name in type(self).model_fields}

    def section_hash(self, *names: str, item: str = "") -> str:
        """Return 16 hex digits over `shared`, the named sections, and which of a matrix it is."""
        whole = self.values()
        chosen: dict[str, Any] = {name: whole[name] for name in ("shared", *names)}
        if item:
            chosen["item"] = item
        if self.distributed.plain:  # what one alone has made stays what it is
            chosen.pop("distributed", None)
        return hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=8).hexdigest()


def load(path: Path, *, over: Path | None = None) -> Params:
    """Read and check params.yaml; every problem is reported at once, with its key.

    Args:
        path: of the file.
        over: the project's params.yaml, whose values hold where `path` has none; without it, `path` must have all.

    Raises:
        FoundryError: the file is missing, is no YAML, or has unknown, missing or out-of-range keys.
    """
    given = yaml_files.read(path)
    base = yaml_files.read(over) if over is not None and over.exists() else None
    return check(yaml_files.laid_over(base, given), str(path))


def check(raw: Any, where: str) -> Params:
    """Return plain values as typed ones; `where` they come from is said with every problem.

    Raises:
        FoundryError: unknown, missing or out-of-range keys.
    """
    if not isinstance(raw, dict):
        got = "an empty file" if raw is None else repr(raw)[:200]
        raise FoundryError(f"{where} must hold sections (shared, synthesize, ...), got {got}; restore it from git")
    try:
        return Params.model_validate_json(json.dumps(_gathered(raw)))
    except ValidationError as error:
        found: dict[tuple[str, str], list[str]] = {}  # a value that may be a list or a number has one problem, not two
        for key, message, got in map(_problem, error.errors()):
            found.setdefault((key, got), []).append(message)
        problems = [f"{key}{' or '.join(messages)}{got}" for (key, got), messages in found.items()]
        raise FoundryError(_listed(where, problems)) from None


def _listed(where: str, problems: list[str]) -> str:
    """In a line a few problems, a line each if there are more; never all of a file that is something else."""
    if len(problems) <= FEW:
        return f"{where}: {'; '.join(problems)}"
    more = [f"and {len(problems) - MOST_NAMED} more"] * (len(problems) > MOST_NAMED)
    return "\n  ".join([f"{where} has {len(problems)} mistakes; mend them:", *problems[:MOST_NAMED], *more])


def _gathered(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: _section(name).gathered(_at_home(name, values)) for name, values in raw.items()}


def _at_home(section: Any, values: Any) -> Any:
    """The values, folders that begin with ~ at the person's home: a shell would have put it there."""
    if not isinstance(values, dict):
        return values
    return {
        key: os.path.expanduser(value) if (section, key) in FOLDERS and isinstance(value, str) else value
        for key, value in values.items()
    }


def _section(name: Any) -> type[Section]:
    found: Any = Params.model_fields.get(name)
    return Section if found is None else found.annotation


def _problem(item: Any) -> tuple[str, str, str]:
    """Where it is, what should be there, and what is."""
    parts = [str(part) for part in item["loc"]]
    for name, keys in _section(parts[0] if parts else "").inlined().items():
        if parts[1:2] == [name]:  # a person knows the value by its name in params.yaml
            parts[1:3] = [key for key, field in keys.items() if parts[2:3] == [field]]
    # Members of a union are named after the key ("list[...]", "constrained-float"): noise for a person.
    where = ".".join(part for part in parts if part.replace("_", "").isalnum())
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a section, of an object in it
        return f"{where}: ", "unknown key; correct its spelling or remove it", ""
    if item["type"] == "missing":
        return f"{where}: ", "missing; add it (see params.yaml in git)", ""
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: " if where else "", message, "" if ", got " in message else f", got {repr(item['input'])[:200]}"
