"""One real Kafka for the whole run. Tests share its topics: each uses article ids and consumer groups of its own."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from services.broker import EmbeddedBroker, free_port
from services.clients.kafka import consumer_options, create_topics

# Generous, for a machine under load; nothing here measures speed.
PATIENCE_SECONDS = 60


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes true within our patience."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class ReadTopic(Protocol):
    def __call__(self, topic: str, key: str, *, at_least: int = 0) -> list[ConsumerRecord]: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """The embedded broker, with our topics in four partitions."""
    with EmbeddedBroker(data_dir=tmp_path_factory.mktemp("kafka"), port=free_port()) as broker:
        create_topics(broker.bootstrap_servers, partitions=4)
        yield broker


@pytest.fixture(scope="session")
def kafka(broker: EmbeddedBroker) -> str:
    """The address of a running Kafka, `host:port`."""
    return broker.bootstrap_servers


@pytest.fixture(scope="session")
def read_topic(kafka: str) -> ReadTopic:
    """A function that reads the records of one key in their order, waiting until there are `at_least` so many."""

    def read(topic: str, key: str, *, at_least: int = 0) -> list[ConsumerRecord]:
        found: list[ConsumerRecord] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        with KafkaConsumer(**consumer_options(kafka)) as consumer:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            while len(found) < at_least or any(
                consumer.position(partition) < ends[partition] for partition in partitions
            ):
                assert time.monotonic() < deadline, f"{len(found)} records of {key} in {topic}, expected {at_least}"
                records = [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
                found += [record for record in records if record.key == key.encode()]
        return found

    return read
