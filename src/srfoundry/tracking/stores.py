"""MLflow stores as they are met: one that does not answer is one line, and a project's own moves with the project."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"  # a project's own store, in its folder
GONE = "RESOURCE_DOES_NOT_EXIST"  # what MLflow says of a run that somebody deleted, of a folder that was moved
EXTRAS = {"psycopg2": "postgresql", "boto3": "s3", "botocore": "s3"}
LOCATED = {  # what MLflow's database writes down with the folder that it lay in
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
PATIENCE = {  # MLflow's own: four minutes of silence before an error; a person who sets these is obeyed
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # under a server, two lines for each run that ends
    "DO_NOT_TRACK": "true",
}
TRIES = 6  # to reach a database: six seconds in all (MLflow: ten tries, 100 s)
LOCAL = "127.0.0.1,localhost,::1"


def prepare(root: Path) -> None:
    """Set what MLflow reads at its first import: the store of the project in `root`, unless the user names another."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", own(root))
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    without_proxy()


def without_proxy() -> None:
    """Servers on this machine are not behind the user's proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        known = [each for each in os.environ.get(name, "").split(",") if each]
        os.environ[name] = ",".join(dict.fromkeys([*known, *LOCAL.split(",")]))


def own(root: Path) -> str:
    """The address of a project's own store."""
    return f"sqlite:///{root.absolute() / DATABASE}"


@contextmanager
def reached(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises, while it is asked, into one line.

    Args:
        uri: of the store, for the message.

    Raises:
        FoundryError: it does not answer, wants other credentials, is of an unknown kind, or needs a package that is not
            installed.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils
    from sqlalchemy.exc import SQLAlchemyError

    from srfoundry.runtime.mlflow_server import CREDENTIALS, refuses  # each stage loads this file, few ask a store

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)  # it warns at each try of what is said once here
    utils.MAX_RETRY_COUNT = TRIES
    try:
        yield
    except ImportError as error:
        package = (error.name or str(error)).partition(".")[0]
        extra = EXTRAS.get(package)
        remedy = f"pip install 'srfoundry[{extra}]'" if extra else f"pip install {package}"
        raise FoundryError(f"MLflow at {redacted(uri)} needs {package}, which is not installed; {remedy}") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        missing = re.search(r"No module named '(\w+)", str(error))
        if missing and missing[1] in EXTRAS:
            remedy = f"pip install 'srfoundry[{EXTRAS[missing[1]]}]'"
            raise FoundryError(
                f"MLflow at {redacted(uri)} needs {missing[1]}, which is not installed; {remedy}"
            ) from None
        status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
        if status in CREDENTIALS:
            raise refuses(redacted(uri), status) from None
        raise FoundryError(
            f"MLflow at {redacted(uri)} does not answer: {first_line(error)}; check MLFLOW_TRACKING_URI"
        ) from None


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a line of a person's terminal."""
    lines = str(error).strip().splitlines()
    return redacted(lines[0])[:160] if lines else type(error).__name__


def settle(uri: str, root: Path) -> None:
    """Let the store of a project that was copied or moved point to the project's present folder.

    MLflow writes absolute paths into its database: a copy would read and write the original's files.

    Args:
        uri: of the store; any other than the project's own is left as it is.
        root: the project's folder.

    Raises:
        FoundryError: the database is damaged, or would have to change and is read-only.
    """
    database = root.absolute() / DATABASE
    if uri != own(root) or not database.is_file():
        return
    here, found = (root.absolute() / ARTIFACTS).as_uri(), set[str]()
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        try:
            rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
            found = {_base(str(row[0])) for row in rows if row[0]} - {"", here}
            for old in found:
                for table, columns in LOCATED.items():
                    known = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
                    for column in known & set(columns):
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                            (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
                        )
            if found:
                connection.commit()
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:  # the low byte: the rest says in which way
                raise FoundryError(
                    f"{database} names files in another folder, where it was written, and is read-only here; mount "
                    f"the project at {_folder(min(found))}, or copy {DATABASE} and {ARTIFACTS}/ to a folder of yours"
                ) from None
            raise FoundryError(f"{database} cannot be used: {first_line(error)}; restore or remove it") from None


def _folder(base: str) -> str:
    """The folder that a location `.../mlartifacts` lies in, as a path."""
    return str(Path(unquote(urlsplit(base).path)).parent)


def _base(location: str) -> str:
    """The folder `mlartifacts` that a location names or lies in; empty for other places."""
    match = re.fullmatch(rf"(file://.*?/{ARTIFACTS})(/.*)?", location)
    return match[1] if match else ""
