"""Whether the processor lives, is ready and has started; served beside the metrics, from a thread of its own.

- `/startup`: the model is loaded.
- `/ready`: that, the consumer group is joined, with partitions or as a standby without, and no stop was asked for.
- `/live`: the event loop turns, and no extraction has outlived its deadline. Kafka's absence does not count: to start
  the processor again would not bring Kafka back.

Each answers 200, or 503 with the reason in a line.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from threading import Thread

from prometheus_client import CollectorRegistry, MetricsHandler

from .errors import StartError

_BEAT_SECONDS = 0.5
# A connection that asks nothing is closed, or it would keep its thread.
_REQUEST_SECONDS = 10.0


class Health:
    """What the probes are answered from. Set by the event loop, read by the server's threads."""

    def __init__(self, *, stuck_seconds: float) -> None:
        self._stuck_seconds = stuck_seconds
        self._last_beat = time.monotonic()
        self.overdue_at: Callable[[], float] = lambda: math.inf
        """When the extraction at hand is overdue, on the monotonic clock."""
        self.model_loaded = False
        self.joined = False
        self.stopping = False

    async def beat(self) -> None:
        """Show that the event loop turns, until cancelled."""
        while True:
            self._last_beat = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def startup(self) -> str | None:
        """None, or why not."""
        return None if self.model_loaded else "the model is not loaded yet"

    def ready(self) -> str | None:
        """None, or why not."""
        if self.stopping:
            return "stopping"
        return self.startup() or (None if self.joined else "the consumer group is not joined yet")

    def live(self) -> str | None:
        """None, or why not."""
        now = time.monotonic()
        if now - self._last_beat > self._stuck_seconds:
            return f"the event loop has stood still for {now - self._last_beat:.0f} s"
        if now > self.overdue_at() + self._stuck_seconds:
            return "an extraction has outlived its deadline"
        return None


@contextmanager
def served(registry: CollectorRegistry, health: Health, *, host: str, port: int) -> Iterator[None]:
    """Serve http://host:port/metrics and the probes.

    Raises:
        StartError: the address cannot be listened on.
    """
    probes = {"/live": health.live, "/ready": health.ready, "/startup": health.startup}

    class Handler(MetricsHandler):
        timeout = _REQUEST_SECONDS

        def do_GET(self) -> None:  # noqa: N802
            probe = probes.get(self.path)
            if probe is None:
                super().do_GET()
                return
            problem = probe()
            body = f"{problem or 'ok'}\n".encode()
            self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    Handler.registry = registry

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in host else AF_INET

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise StartError(
            f"metrics and probes cannot be served on {host}:{port} ({error.strerror or error}). Stop what uses "
            "that port, or set TIDINGS_METRICS_PORT to another one (TIDINGS_METRICS_HOST for the address)."
        ) from error
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
