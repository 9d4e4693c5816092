"""The real processor in a process of its own, and what Kafka holds of its work."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from prometheus_client.parser import text_string_to_metric_families

from services.broker import free_port
from services.clients.kafka import consumer_options, producer_options
from services.clients.topics import ARTICLES_TOPIC, EVENTS_TOPIC
from services.console.reading import bounds, reader, records
from services.contracts import Event, event_id

from .conftest import PATIENCE_SECONDS, eventually

ATTACK = "Warplanes bombed the town of Abu Kamal in eastern Syria on Wednesday, killing nine fighters."


class Running:
    """A processor in a process of its own. It starts at the group's committed offsets."""

    def __init__(
        self,
        kafka: str,
        group: str,
        log: Path,
        *,
        program: Sequence[str] = ("-m", "services.cli", "process"),
        **settings: str,
    ) -> None:
        self.metrics_port = free_port()
        self.log = log
        environment = {
            "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TIDINGS_CONSUMER_GROUP": group,
            "TIDINGS_METRICS_PORT": str(self.metrics_port),
            "TIDINGS_BATCH_ARTICLES": "4",
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                env=os.environ | environment | settings,
                stdout=output,
                stderr=output,
            )

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample; 0 where there is none yet, as long as the processor runs."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
        except OSError:
            return 0
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def probe(self, name: str) -> tuple[int, str]:
        """What the probe answers: its status, 0 where nobody answers, and its text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/{name}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def extractor_pid(self) -> int:
        """The child that holds the model."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return pid

    def stop(self) -> int:
        """Tell it to stop, and wait; its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    assert eventually(condition), f"waited in vain until {what}"


def partitions_of(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]


def group_at_the_end(kafka: str) -> str:
    """A new consumer group that has read all articles so far."""
    group = f"test-{uuid.uuid4()}"
    with KafkaConsumer(**consumer_options(kafka), group_id=group) as consumer:
        consumer.assign(partitions_of(consumer, ARTICLES_TOPIC))
        consumer.seek_to_end()
        for partition in consumer.assignment():
            consumer.position(partition)
        consumer.commit()
    return group


def committed(kafka: str, group: str) -> dict[int, int]:
    """By partition of the articles topic, the offset that the group goes on from."""
    with KafkaConsumer(**consumer_options(kafka), group_id=group) as consumer:
        return {
            partition.partition: consumer.committed(partition) or 0
            for partition in partitions_of(consumer, ARTICLES_TOPIC)
        }


def send(
    kafka: str, key: str | None, value: bytes | None, headers: Sequence[tuple[str, bytes]] = (), **options: object
) -> tuple[int, int]:
    """Publish a record to the articles topic; its partition and offset."""
    with KafkaProducer(**producer_options(kafka) | options) as producer:
        key_bytes = None if key is None else key.encode()
        sent = producer.send(ARTICLES_TOPIC, key=key_bytes, value=value, headers=list(headers)).get(PATIENCE_SECONDS)
    return sent.partition, sent.offset


def events_by_article(kafka: str) -> dict[str, list[Event]]:
    """All events in the topic now, by article."""
    found: dict[str, list[Event]] = {}
    for record in stored(kafka, EVENTS_TOPIC):
        event = msgspec.json.decode(record.value, type=Event)
        found.setdefault(event.article_id, []).append(event)
    return found


def stored(kafka: str, topic: str) -> Iterator[ConsumerRecord]:
    """All records that the topic holds now."""
    with reader(kafka) as consumer:
        yield from records(consumer, bounds(consumer, topic))


def bombings(article_id: str, sentences: int) -> set[str]:
    """The ids of the events that every good model finds in an article of so many times `ATTACK`: one in each."""
    first = ATTACK.index("bombed")
    starts = (sentence * (len(ATTACK) + 1) + first for sentence in range(sentences))
    return {event_id(article_id, start, start + len("bombed")) for start in starts}
