"""What this machine is asked to do for the factory: settings that change no byte of a result, in one typed place.

They stand in the environment, or in the file `.env` of the project's folder, which git does not know and which
`docker compose` reads, too; the environment wins. `.env` may also hold what MLflow, Prefect and the S3 client read
(MLFLOW_..., PREFECT_..., AWS_...): addresses, users, passwords. docs/cluster.md lists them.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from srfoundry.core.errors import FoundryError

FILE = ".env"
PREFIX = "SRFOUNDRY_"
TAKEN = (PREFIX, "MLFLOW_", "PREFECT_", "AWS_")  # of the names in .env; the others are compose's


class Machine(BaseSettings):
    """The settings with their defaults; each is read from SRFOUNDRY_ and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    dask: str = ""  # address of a Dask scheduler, tcp://host:8786, that tasks are sent to; empty = this machine's cores
    dask_retries: Annotated[int, Field(ge=0, le=20)] = 3  # times a task that the cluster lost is sent again
    dask_patience: Annotated[float, Field(gt=0)] = 60.0  # seconds that a cluster may be without any worker
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 1.0  # of work that a kill may cost
    registration: bool = True  # whether the stage export registers what it makes; not in a trial by the flow's values
    notify: SecretStr = SecretStr("")  # address that a failed night is posted to; empty = nobody is notified


def prepare(root: Path) -> None:
    """Put what the project's .env says into the environment, unless it stands there."""
    path = root / FILE
    if not path.is_file():
        return
    from dotenv import dotenv_values

    for name, value in dotenv_values(path).items():
        if name.startswith(TAKEN) and value is not None:
            os.environ.setdefault(name, value)


def machine() -> Machine:
    """The settings as the environment has them now.

    Raises:
        FoundryError: a value that a setting cannot have; names it.
    """
    return _read(tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(PREFIX))))


@cache
def _read(_: tuple[tuple[str, str], ...]) -> Machine:
    try:
        return Machine()
    except ValidationError as error:
        found = error.errors()[0]
        name = f"{PREFIX}{'_'.join(map(str, found['loc']))}".upper()
        raise FoundryError(f"{name}={found['input']}: {found['msg']}; docs/cluster.md says what it may be") from None
