"""Options of every Kafka client of ours, the topics' creation, and what is said when Kafka does not answer."""

import logging
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import Cancelled, RetriableError, TopicAlreadyExistsError, for_code

from .topics import MAX_RECORD_BYTES, TOPICS, TopicSpec

logger = logging.getLogger(__name__)

# A client that is closed while it asks for metadata logs that as an error.
logging.getLogger("kafka.cluster").addFilter(
    lambda record: not (isinstance(record.args, tuple) and any(isinstance(value, Cancelled) for value in record.args))
)

# Every client library reads gzip, of any size, without a further package; zstd and lz4 need one in Python.
COMPRESSION = "gzip"
# A batch of a few dozen articles compresses well, and waits for so many milliseconds only when articles are rare.
_BATCH_BYTES = 128 * 1024
_LINGER_MS = 20
# Rides out the restart of a broker, and yet does not keep a person waiting who mistyped an address.
CONNECT_SECONDS = 30.0
_REQUEST_MS = 20_000
_DELIVERY_MS = 60_000


class KafkaUnavailableError(Exception):
    """Kafka cannot be reached or does not answer. The text says what to do."""


def client_options(bootstrap_servers: str) -> dict[str, Any]:
    """Options that every kafka-python client takes. `bootstrap_servers` is `host:port[,host:port]`."""
    return {
        "bootstrap_servers": bootstrap_servers.split(","),
        "client_id": "tidings",
        "request_timeout_ms": _REQUEST_MS,
    }


def producer_options(bootstrap_servers: str) -> dict[str, Any]:
    """Options of a `kafka.KafkaProducer`: confirmed means that all replicas have it; a retry does not repeat it."""
    return client_options(bootstrap_servers) | {
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "compression_type": COMPRESSION,
        "batch_size": _BATCH_BYTES,
        "linger_ms": _LINGER_MS,
        "max_request_size": MAX_RECORD_BYTES,
        "delivery_timeout_ms": _DELIVERY_MS,
    }


def consumer_options(bootstrap_servers: str) -> dict[str, Any]:
    """Options of a `kafka.KafkaConsumer` that reads a topic from its start and commits nothing."""
    return client_options(bootstrap_servers) | {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "max_partition_fetch_bytes": MAX_RECORD_BYTES,
    }


def faust_options(bootstrap_servers: str) -> dict[str, Any]:
    """The same for a `faust.App`: addresses, codec, confirmation and limits."""
    return {
        "broker": [f"kafka://{server}" for server in bootstrap_servers.split(",")],
        "producer_acks": -1,
        "producer_compression_type": COMPRESSION,
        "producer_max_request_size": MAX_RECORD_BYTES,
        "consumer_max_fetch_size": MAX_RECORD_BYTES,
    }


@contextmanager
def reachable_kafka(bootstrap_servers: str, *, seconds: float = CONNECT_SECONDS) -> Iterator[None]:
    """Wait until Kafka takes connections; make and use a kafka-python client inside.

    The wait comes first because a client that is made too early logs every failed attempt and leaks its sockets.

    Raises:
        KafkaUnavailableError: no server took a connection within `seconds`, or Kafka fell silent inside the block.
    """
    _await_connection(bootstrap_servers, seconds)
    try:
        yield
    except RetriableError as error:
        raise _unavailable(bootstrap_servers, error) from error


def create_topics(
    bootstrap_servers: str, *, partitions: int, replication_factor: int = -1, topics: Sequence[TopicSpec] = TOPICS
) -> None:
    """Create those of the topics that are missing and wait until all have leaders. Existing ones are left as they are.

    `replication_factor` -1 is the cluster's own default.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached.
    """
    with reachable_kafka(bootstrap_servers), KafkaAdminClient(**client_options(bootstrap_servers)) as admin:
        existing = admin.list_topics()
        missing = {
            topic.name: {
                "num_partitions": partitions,
                "replication_factor": replication_factor,
                "configs": topic.config(),
            }
            for topic in topics
            if topic.name not in existing
        }
        if missing:
            answer = admin.create_topics(missing, raise_errors=False)
            for topic in answer["topics"]:
                error = for_code(topic["error_code"])
                # Somebody else may have created it since: that is as good.
                if topic["error_code"] and error is not TopicAlreadyExistsError:
                    raise error(f"topic {topic['name']}: {topic['error_message']}")
            logger.info("created topics %s", ", ".join(missing))
        admin.wait_for_topics([topic.name for topic in topics])


def _await_connection(bootstrap_servers: str, seconds: float) -> None:
    addresses = [_host_and_port(server) for server in bootstrap_servers.split(",")]
    deadline = time.monotonic() + seconds
    failure = _connection_failure(addresses)
    if failure is not None:
        logger.warning("waiting for Kafka at %s (%s)", bootstrap_servers, failure)
    while failure is not None:
        if time.monotonic() > deadline:
            raise _unavailable(bootstrap_servers, failure) from failure
        time.sleep(0.1)
        failure = _connection_failure(addresses)


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise KafkaUnavailableError(
            f"{server!r} is no address of a Kafka server; TIDINGS_KAFKA_BOOTSTRAP_SERVERS is host:port[,host:port]."
        )
    return host.strip("[]"), int(port)


def _connection_failure(addresses: list[tuple[str, int]]) -> OSError | None:
    """Why no server takes a connection; none if one does."""
    failure = None
    for address in addresses:
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError as error:
            failure = error
        else:
            return None
    return failure


def _unavailable(bootstrap_servers: str, error: Exception) -> KafkaUnavailableError:
    return KafkaUnavailableError(
        f"Kafka at {bootstrap_servers} does not answer ({error}). Start it, or set TIDINGS_KAFKA_BOOTSTRAP_SERVERS "
        "to the host:port of one that runs."
    )
