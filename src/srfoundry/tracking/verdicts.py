"""What was decided of a model file, as tags of the registered model: it outlives the version that held the file.

An alias that is not where `register` has put it was moved by a person, by `promote`, in MLflow's page or through its
interface: what it was taken from is withdrawn, and `register` gives it to that file no more.
"""

from collections.abc import Mapping

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from srfoundry.runtime.mlflow_server import ABSENT
from srfoundry.tracking.stores import reached

HELD, WITHDRAWN, REFUSED = "held.", "withdrawn.", "refused."  # by alias, by md5, by member


def holder(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias points to, if any."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None


def note_holder(client: MlflowClient, name: str, alias: str) -> dict[str, str]:
    """Note which file has an alias now; another than at the last note is a person's choice, and the former withdrawn.

    Args:
        client: of the registry.
        name: of the registered model.
        alias: to look at.

    Returns:
        The alias that each withdrawn file was taken from, by the file's md5.
    """
    tags = _tags(client, name)
    found = {key.removeprefix(WITHDRAWN): alias for key, alias in tags.items() if key.startswith(WITHDRAWN)}
    standing = holder(client, name, alias)
    now, before = "" if standing is None else standing.tags.get("model.md5", ""), tags.get(HELD + alias, "")
    if before == now:
        return found
    if before:
        client.set_registered_model_tag(name, WITHDRAWN + before, alias)
        found[before] = alias
    if found.get(now) == alias:
        client.delete_registered_model_tag(name, WITHDRAWN + now)
        del found[now]
    client.set_registered_model_tag(name, HELD + alias, now)
    return found


def barred(name: str, withdrawn: Mapping[str, str], *md5s: str) -> str:
    """Why a file gets no alias by the rule, and how that is lifted; empty where nothing withdrew it.

    Args:
        name: of the registered model.
        withdrawn: as `note_holder` gives it.
        md5s: of the file, and of the one that it was made of.
    """
    for md5 in md5s:
        if md5 in withdrawn:
            return (
                f"{withdrawn[md5]} was taken from it by hand; to let it have it again, srfoundry promote its version, "
                f"or delete the tag {WITHDRAWN}{md5} of the registered model {name}"
            )
    return ""


def moved(client: MlflowClient, name: str, alias: str, md5: str) -> None:
    """Note that an alias has gone to the file with this md5 by the rule, which withdraws nothing."""
    client.set_registered_model_tag(name, HELD + alias, md5)


def refused(name: str, member: str) -> str:
    """The mark of the file that was refused last of a member; empty where none was.

    Raises:
        FoundryError: the registry does not answer.
    """
    with reached(mlflow.get_tracking_uri()):
        return _tags(MlflowClient(), name).get(REFUSED + member, "")


def refuse(name: str, member: str, mark: str) -> None:
    """Note which file of a member was refused, in the place of the one before.

    Args:
        name: of the registered model, which is there: a file is refused beside its original.
        member: of the family.
        mark: the file, and what it was refused by.

    Raises:
        FoundryError: the registry does not answer.
    """
    with reached(mlflow.get_tracking_uri()):
        MlflowClient().set_registered_model_tag(name, REFUSED + member, mark)


def _tags(client: MlflowClient, name: str) -> dict[str, str]:
    """Of the registered model; none where there is no such model yet."""
    try:
        return {str(key): str(text) for key, text in client.get_registered_model(name).tags.items()}
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return {}
