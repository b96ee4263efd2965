"""A person's own choice of what an alias points to: a rollback, and what takes it back."""

from collections.abc import Iterator

from mlflow.tracking import MlflowClient

from srfoundry.runtime import pulling
from srfoundry.tracking import registry, verdicts
from srfoundry.tracking.registering import ALIASES
from srfoundry.tracking.stores import reached


def promote(address: str, alias: str = "") -> Iterator[str]:
    """Point an alias to a version, and yield a line for people.

    The aliases of files in fewer bits follow, to those that were made of it. What an alias is taken from is withdrawn:
    `register` does not give it back by itself.

    Args:
        address: models:/NAME/VERSION, or models:/NAME@ALIAS such as a challenger's.
        alias: to point to it; that of its member if empty.

    Raises:
        FoundryError: nothing is registered there, its file is gone, or the registry does not answer.
    """
    found = registry.find(address)
    registry.fetch(
        f"{pulling.PREFIX}{found.name}/{found.number}"
    )  # an alias of a version without its file would serve nothing
    member = found.tags.get("member", "")
    own = ALIASES.get(member, registry.CHAMPION)
    with reached(registry.store()):
        client = MlflowClient()
        yield _point(client, found.name, alias or own, found.number)
        if alias not in ("", own):
            return
        md5 = found.tags.get("model.md5", "")
        made = client.search_model_versions(f"{pulling.named(found.name)} and tags.`original.md5` = '{md5}'")
        made = sorted(made, key=lambda each: int(each.version))
        forms = {str(each.tags.get("member")): str(each.version) for each in made}
        for form in (each for each in ALIASES if each.startswith(f"{member}_")):
            standing = verdicts.holder(client, found.name, ALIASES[form])
            if form in forms:
                yield _point(client, found.name, ALIASES[form], forms[form])
            elif standing is not None:
                yield f"{ALIASES[form]} stays version {standing.version}: version {found.number} has no {form}"


def _point(client: MlflowClient, name: str, alias: str, number: str) -> str:
    before = verdicts.holder(client, name, alias)
    if before is not None and str(before.version) == number:
        return f"{alias} is version {number} already"
    verdicts.note_holder(client, name, alias)
    client.set_registered_model_alias(name, alias, number)
    verdicts.note_holder(client, name, alias)
    challenger = verdicts.holder(client, name, registry.challenger_of(alias))
    if challenger is not None and str(challenger.version) == number:
        client.delete_registered_model_alias(name, registry.challenger_of(alias))
    client.set_model_version_tag(name, number, "decision", "by hand")
    return f"{alias} is version {number}" + ("" if before is None else f", it was version {before.version}")
