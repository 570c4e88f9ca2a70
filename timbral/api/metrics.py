"""What the API counts for Prometheus; with several processes, all of them together."""

from __future__ import annotations

import os
import time

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EVENT_STREAMS", "RECOMMENDATIONS", "Metrics", "exposition", "lists_handed_out"]

REQUESTS = Counter("timbral_http_requests", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "timbral_http_request_duration_seconds",
    "From the request's head to the end of the answer; event streams are not in it.",
    ["route"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
RECOMMENDATIONS = Counter(
    "timbral_http_recommendations", "Lists handed out, by where they came from: cache, popular, none.", ["source"]
)
EVENT_STREAMS = Gauge("timbral_http_event_streams", "Event streams that are open now.", multiprocess_mode="livesum")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """ASGI middleware: counts and times what is answered, by route (never by id: that would be a series a user)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "(none)")
            self._count(scope["method"], route, status)
            if not route.endswith("/events"):
                self._time(route, time.perf_counter() - begun)

    def _count(self, method: str, route: str, status: int) -> None:
        key = (method if method in METHODS else "(other)", route, status)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = REQUESTS.labels(key[0], route, str(status))
        counter.inc()

    def _time(self, route: str, duration_s: float) -> None:
        histogram = self._durations.get(route)
        if histogram is None:
            histogram = self._durations[route] = DURATION.labels(route)
        histogram.observe(duration_s)


def exposition() -> bytes:
    """All metrics in Prometheus' text format, of every process where there are several."""
    return generate_latest(_registry())


def lists_handed_out() -> dict[str, int]:
    """How many lists were handed out since the API started, by where they came from; of every process."""
    families = [family for family in _registry().collect() if family.name == "timbral_http_recommendations"]
    samples = [sample for family in families for sample in family.samples if sample.name.endswith("_total")]
    return {sample.labels["source"]: int(sample.value) for sample in samples}


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus-client has no types here
    return registry
