"""What Prometheus reads at /metrics: how much is asked, how long it takes, what waits, what failed, who answers."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from srfoundry.serving.members import Family

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BATCHES = (1, 2, 4, 8, 16)


class Metrics:
    """One server's figures; two servers in a process do not share them."""

    def __init__(self, family: Family) -> None:
        self.registry = CollectorRegistry()
        made: Any = {"registry": self.registry}
        self.requests = Counter("srfoundry_requests", "Answers by route and status", ["route", "status"], **made)
        self.latency = Histogram(
            "srfoundry_request_seconds",
            "From the request's head to the answer's end",
            ["route"],
            buckets=SECONDS,
            **made,
        )
        self.work = Histogram(
            "srfoundry_work_seconds", "On one photograph, queue left out", ["model"], buckets=SECONDS, **made
        )
        self.tiles = Histogram("srfoundry_run_seconds", "Of one run of a model", buckets=SECONDS, **made)
        self.batches = Histogram("srfoundry_run_tiles", "Tiles that shared a run", buckets=BATCHES, **made)
        self.errors = Counter("srfoundry_errors", "Refused or failed, by kind", ["kind"], **made)
        self.bytes = Counter("srfoundry_bytes", "Of photographs, in and out", ["direction"], **made)
        self.pixels = Counter("srfoundry_pixels", "Of photographs that were enlarged, input", ["model"], **made)
        self.refused = Counter("srfoundry_refused_versions", "That failed their self-test", ["model"], **made)
        self.polls = Counter("srfoundry_failed_polls", "Looks at the registry or folder that failed", **made)
        self.waiting = Gauge("srfoundry_waiting", "Photographs that wait", **made)
        self.running = Gauge("srfoundry_running", "Photographs in work", **made)
        self.waiting_tiles = Gauge("srfoundry_waiting_tiles", "Tiles that wait", **made)
        self.registry.register(_Versions(family))
        ProcessCollector(registry=self.registry)

    def ran(self, tiles: int, seconds: float) -> None:
        """Note one run of a model."""
        self.batches.observe(tiles)
        self.tiles.observe(seconds)

    def failed(self, kind: str) -> None:
        """Note that something was refused or failed."""
        self.errors.labels(kind).inc()

    def watch(self, gauge: Gauge, count: Callable[[], int]) -> None:
        """Let a gauge show what a function counts."""
        gauge.set_function(lambda: float(count()))

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class _Versions(Collector):
    """Which version each member serves, as a label."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[GaugeMetricFamily]:
        served = GaugeMetricFamily("srfoundry_model", "The version that is served", labels=["model", "version"])
        refused = GaugeMetricFamily("srfoundry_model_refused", "A version not taken", labels=["model", "version"])
        for member in self._family.members():
            served.add_metric([member.name, member.loaded.version], 1)
            if member.refused:
                refused.add_metric([member.name, member.refused["version"]], 1)
        yield served
        yield refused
