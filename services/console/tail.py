"""The events topic, read as it grows: every event once, in the order of arrival."""

import hashlib
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Self

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from services.clients.kafka import consumer_options, reachable_kafka
from services.clients.topics import EVENTS_TOPIC
from services.contracts import Event

from .errors import ConsoleError

logger = logging.getLogger(__name__)

# Events that are remembered to tell a repeat. A restarted processor repeats a batch at most, some hundred events; a
# replay repeats everything, and so many are the events of about ten thousand articles. They take 15 MB.
_REMEMBERED = 100_000
_NEVER = datetime.fromtimestamp(0, UTC)


class Arrival(NamedTuple):
    """An event and its JSON in one line, with the fields that this version does not know."""

    event: Event
    json: bytes


Show = Callable[[Arrival], None]


class Tail:
    """A context manager over all partitions of the events topic. It has no group and commits nothing.

    An event that was published again and says the same arrives once: its time of extraction and its confidences may
    differ, since a model's last digits depend on what else was in the batch.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached.
        ConsoleError: there is no events topic.
    """

    def __init__(self, bootstrap_servers: str, *, from_start: bool) -> None:
        self.arrived = 0
        self._remembered: dict[bytes, None] = {}
        self._unreadable = 0
        with reachable_kafka(bootstrap_servers):
            self._consumer = KafkaConsumer(
                **consumer_options(bootstrap_servers) | {"isolation_level": "read_committed"}
            )
            numbers = self._consumer.partitions_for_topic(EVENTS_TOPIC)
            if not numbers:
                self._consumer.close()
                raise ConsoleError(
                    f"Kafka at {bootstrap_servers} has no topic {EVENTS_TOPIC}. `tidings up` and `tidings produce` "
                    "create it: run one of them first."
                )
            self._partitions = [TopicPartition(EVENTS_TOPIC, number) for number in sorted(numbers)]
            self._consumer.assign(self._partitions)
            if not from_start:
                self._consumer.seek_to_end(*self._partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, seconds: float) -> list[Arrival]:
        """What has arrived, after waiting for it for at most so long. What is not an event is logged and passed by."""
        batches = self._consumer.poll(timeout_ms=int(1000 * seconds)).values()
        readings = [self._read(record) for records in batches for record in records]
        arrivals = [reading for reading in readings if reading and self._is_new(reading.event)]
        self.arrived += len(arrivals)
        return arrivals

    def at_end(self) -> bool:
        """Whether everything has been read that the topic holds at this moment."""
        ends = self._consumer.end_offsets(self._partitions)
        return all(self._consumer.position(partition) >= ends[partition] for partition in self._partitions)

    def _read(self, record: ConsumerRecord) -> Arrival | None:
        try:
            event = msgspec.json.decode(record.value or b"", type=Event)
        except (ValueError, RecursionError) as error:
            self._unreadable += 1
            logger.warning(
                "not an event: %s, partition %d, offset %d: %s (%d such records so far)",
                record.topic,
                record.partition,
                record.offset,
                error,
                self._unreadable,
            )
            return None
        return Arrival(event, msgspec.json.format(record.value, indent=-1))

    def _is_new(self, event: Event) -> bool:
        replace = msgspec.structs.replace
        said = replace(
            event,
            confidence=0,
            arguments=[replace(argument, confidence=0) for argument in event.arguments],
            provenance=replace(event.provenance, extracted_at=_NEVER),
        )
        content = hashlib.blake2b(msgspec.json.encode(said), digest_size=16).digest()
        # The latest shown is the last forgotten.
        seen = content in self._remembered
        self._remembered.pop(content, None)
        self._remembered[content] = None
        if len(self._remembered) > _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return not seen


def follow(bootstrap_servers: str, *, show: Show, from_start: bool, once: bool) -> None:
    """Show events as they arrive until interrupted; with `once`, those that the topic holds."""
    with Tail(bootstrap_servers, from_start=from_start) as tail:
        while True:
            for arrival in tail.poll(1.0):
                show(arrival)
            if once and tail.at_end():
                return


def show_json(arrival: Arrival) -> None:
    """The event's JSON as a line of standard output, at once."""
    sys.stdout.buffer.write(arrival.json + b"\n")
    sys.stdout.buffer.flush()
