"""What a topic holds at this moment, read once from end to end or between two times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaTimeoutError

from services.clients.kafka import consumer_options, reachable_kafka

from .errors import ConsoleError

# The topic is read without a pause; so long a silence means that Kafka is gone.
_SILENCE_SECONDS = 30
_EPOCH = datetime.fromtimestamp(0, UTC)

Bounds = dict[TopicPartition, tuple[int, int]]
"""By partition, the first offset and the one past the last."""


@contextmanager
def reader(bootstrap_servers: str) -> Iterator[KafkaConsumer]:
    """A consumer for the functions below. It has no group and commits nothing.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached, or falls silent inside the block.
    """
    options = consumer_options(bootstrap_servers) | {"isolation_level": "read_committed"}
    with reachable_kafka(bootstrap_servers), KafkaConsumer(**options) as consumer:
        yield consumer


def bounds(
    consumer: KafkaConsumer, topic: str, *, since: datetime | None = None, until: datetime | None = None
) -> Bounds:
    """Where the records are that the topic holds now, those of [since, until). Kafka finds the first record of each
    partition that is as late as the time.

    Raises:
        ConsoleError: there is no such topic.
    """
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise ConsoleError(
            f"Kafka has no topic {topic}. `tidings up` and `tidings produce` create it: run one of them first."
        )
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    if since:
        starts = _offsets_at(consumer, since, ends)
    if until:
        ends = _offsets_at(consumer, until, ends)
    return {partition: (starts[partition], ends[partition]) for partition in partitions}


def _offsets_at(
    consumer: KafkaConsumer, moment: datetime, ends: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    milliseconds = max(0, int((moment - _EPOCH).total_seconds() * 1000))
    found = consumer.offsets_for_times(dict.fromkeys(ends, milliseconds))
    return {partition: found[partition].offset if found.get(partition) else end for partition, end in ends.items()}


def records(consumer: KafkaConsumer, within: Bounds) -> Iterator[ConsumerRecord]:
    """The records within these bounds, each partition in its order."""
    unread = {partition: limits for partition, limits in within.items() if limits[0] < limits[1]}
    consumer.assign(list(unread))
    consumer.resume(*unread)  # an earlier reading may have paused them
    for partition, (start, _) in unread.items():
        consumer.seek(partition, start)
    last_heard = time.monotonic()
    while unread:
        batches = consumer.poll(timeout_ms=1000)
        for partition, batch in batches.items():
            start, end = within[partition]
            yield from (record for record in batch if start <= record.offset < end)
        if batches:
            last_heard = time.monotonic()  # now: whoever took the records may have worked on them
        elif time.monotonic() - last_heard > _SILENCE_SECONDS:
            raise KafkaTimeoutError(f"no answer for {_SILENCE_SECONDS} s while records were read")
        for partition in [partition for partition, (_, end) in unread.items() if consumer.position(partition) >= end]:
            consumer.pause(partition)  # what is past the end is not fetched
            del unread[partition]


def record_at(consumer: KafkaConsumer, topic: str, partition: int, offset: int) -> ConsumerRecord | None:
    """The record at this place, if the topic has it, still or at all."""
    place = TopicPartition(topic, partition)
    if partition not in (consumer.partitions_for_topic(topic) or ()):
        return None
    first, end = consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
    if not first <= offset < end:
        return None
    return next(records(consumer, {place: (offset, offset + 1)}), None)
