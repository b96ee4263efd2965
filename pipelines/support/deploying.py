"""The Prefect server at PREFECT_API_URL made ready for the factory; run again, it changes what has changed.

    python -m pipelines.support.deploying              the pool srfoundry, its queue for nights, the deployments of
                                                       prefect.yaml, the automations of automations.yaml
    python -m pipelines.support.deploying --runs 8     flow runs at a time in the whole pool (4)

SRFOUNDRY_NOTIFY is the address that a notification is posted to as JSON, {"text": ...}, as Slack, Mattermost and Teams
take it; without one, nobody is notified.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pipelines.support import server, settings
from pipelines.support.program import answering
from srfoundry.core.errors import FoundryError
from srfoundry.tracking.stores import first_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL, NIGHT, BLOCK = "srfoundry", "night", "srfoundry-notify"
RUNS = 4


def deploy(root: Path, runs: int) -> list[str]:
    """Make pool, queue, deployments and automations; return a line for each.

    Args:
        root: the project's folder, with prefect.yaml and automations.yaml.
        runs: at a time in the whole pool; one of them a night.

    Raises:
        FoundryError: the server does not answer, or does not take something.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            said = [_pool(client, runs), _queue(client)]
            _prefect_deploy(root)
            said.append("deployments factory/factory and factory/night")
            return said + _automations(client, root)
    except (HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        raise FoundryError(f"Prefect does not take it: {first_line(error)}; see PREFECT_API_URL") from None


def _pool(client: "SyncPrefectClient", runs: int) -> str:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        from prefect.workers.process import ProcessWorker

        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=runs))
    return f"pool {POOL}, {runs} runs at a time"


def _queue(client: "SyncPrefectClient") -> str:
    """The queue for nights, behind the default one: what somebody waits for goes first."""
    url, made = f"/work_pools/{POOL}/queues", {"concurrency_limit": 1, "priority": 2}
    request: Callable[..., Any] = client.request
    known = request("POST", f"{url}/filter", json={}).json()
    if NIGHT in {queue["name"] for queue in known}:
        request("PATCH", f"{url}/{NIGHT}", json=made)
    else:
        request("POST", f"{url}/", json={"name": NIGHT, **made})
    return f"queue {NIGHT}, 1 run at a time"


def _prefect_deploy(root: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FoundryError(f"prefect deploy --all failed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")


def _automations(client: "SyncPrefectClient", root: Path) -> list[str]:
    from ruamel.yaml import YAML

    address, said = settings.machine().notify.get_secret_value(), list[str]()
    block = str(_block(address)) if address else ""
    request: Callable[..., Any] = client.request
    known = {each["name"]: each["id"] for each in request("POST", "/automations/filter", json={}).json()}
    for automation in YAML(typ="safe").load((root / "automations.yaml").read_text())["automations"]:
        name = automation["name"]
        sending = [action for action in automation["actions"] if "block_document_id" in action]
        if sending and not block:
            said.append(f"no automation {name}: nobody to notify, set SRFOUNDRY_NOTIFY")
            continue
        for action in sending:
            action["block_document_id"] = block
        if name in known:
            request("PUT", f"/automations/{known[name]}", json=automation)
        else:
            request("POST", "/automations/", json=automation)
        said.append(f"automation {name}")
    return said


def _block(address: str) -> UUID:
    """The notification block, which keeps the address encrypted."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.types import SecretDict

    block: Any = CustomWebhookNotificationBlock
    made = block(
        name=BLOCK,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        secrets=SecretDict({"address": address}),
    )
    return made.save(BLOCK, overwrite=True)


def main() -> None:
    """Deploy, and say what is there."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.deploying",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="flow runs at a time in the whole pool")
    options = parser.parse_args()
    root = Path.cwd()
    with answering():
        server.prepare_environment(root)
        server.ensure_prefect(root)
        sys.stdout.write("\n".join(deploy(root, options.runs)) + "\n")


if __name__ == "__main__":
    main()
