"""What production does to a processor, and whether anything is lost: kills, outages, bad input, on real Kafka.

    make chaos                 2,000 articles, 20 kills, a stop and a kill of Kafka for 60 s, 200 bad records

`tests/test_chaos.py` runs a shorter form. Every article holds sentences whose event every good model finds, so that it
is known beforehand which events must be there; they are counted by their ids.
"""

import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from services.broker import EmbeddedBroker, free_port
from services.clients.kafka import consumer_options, create_topics, producer_options
from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, EVENTS_TOPIC
from services.console.differences import Change, differences
from services.contracts import Article, Event

from .running import ATTACK, Running, bombings, committed, stored

PARTITIONS = 4
GROUP = "chaos"
# Far longer than anything here takes, on the slowest machine.
_PATIENCE_SECONDS = 1800


@dataclass(kw_only=True)
class Report:
    """What was done, and what became of it."""

    kills: int = 0
    in_mid_batch: int = 0
    """Kills that met a processor with articles at hand."""
    outages: int = 0
    bad_inputs: int = 0
    dead_letters: int = 0
    articles: int = 0
    expected: int = 0
    found: int = 0
    lost: list[str] = field(default_factory=list)
    duplicates: int = 0
    differing: int = 0
    """Duplicates that differ in more than `extracted_at` and the last digits of a confidence."""

    def table(self) -> str:
        rows = {
            "kills": self.kills,
            "in mid-batch": self.in_mid_batch,
            "outages of Kafka": self.outages,
            "bad inputs": self.bad_inputs,
            "dead letters": self.dead_letters,
            "articles in": self.articles,
            "events expected": self.expected,
            "events found": self.found,
            "lost": len(self.lost),
            "duplicates": self.duplicates,
            "of them differing": self.differing,
        }
        return "\n".join(f"{name:<18}{number:>7}" for name, number in rows.items())


class Chaos:
    """A processor that is started again whenever it is killed, and the articles that it has to read."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, *, articles: int, bad_inputs: int, seed: int) -> None:
        self.report = Report(articles=articles, bad_inputs=bad_inputs)
        self._kafka = broker.bootstrap_servers
        self._log = folder / "processor.log"
        self._random = random.Random(seed)
        self._expected = self._publish(articles, bad_inputs)
        self.report.expected = len(self._expected)

    def start(self) -> Running:
        return Running(self._kafka, GROUP, self._log, TIDINGS_BATCH_ARTICLES="16")

    def kill_in_mid_batch(self) -> None:
        """Start a processor, wait until it works, and kill it at a random moment."""
        running = self.start()
        _await(lambda: self.done() or running.metric("tidings_articles_in_flight") > 0, "it works")
        time.sleep(self._random.uniform(0, 2))
        self._kill(running)

    def kill_while_it_starts(self) -> None:
        running = self.start()
        time.sleep(self._random.uniform(0.5, 3))
        self._kill(running)

    def kill_in_a_rebalance(self) -> None:
        """A second processor joins the group of the first; the first is killed meanwhile."""
        first = self.start()
        _await(lambda: self.done() or first.metric("tidings_articles_in_flight") > 0, "the first works")
        second = self.start()
        _await(lambda: second.probe("startup")[0] == 200, "the second joins")
        self._kill(first)
        _await(lambda: self.done() or second.metric("tidings_articles_in_flight") > 0, "the second works")
        self._kill(second)

    def _kill(self, running: Running) -> None:
        self.report.in_mid_batch += running.metric("tidings_articles_in_flight") > 0
        running.kill()
        self.report.kills += 1

    def done(self) -> bool:
        """Whether the group has committed everything."""
        with KafkaConsumer(**consumer_options(self._kafka)) as consumer:
            ends = consumer.end_offsets([TopicPartition(ARTICLES_TOPIC, number) for number in range(PARTITIONS)])
        offsets = committed(self._kafka, GROUP)
        return all(offsets[partition.partition] == end for partition, end in ends.items())

    def count(self) -> Report:
        """What the topics hold."""
        report = self.report
        first: dict[str, Event] = {}
        for record in stored(self._kafka, EVENTS_TOPIC):
            event = msgspec.json.decode(record.value, type=Event)
            earlier = first.setdefault(event.event_id, event)
            if earlier is not event:
                report.duplicates += 1
                report.differing += _differ(event, earlier)
        report.found = len(self._expected & first.keys())
        report.lost = sorted(self._expected - first.keys())
        report.dead_letters = sum(1 for _ in stored(self._kafka, DEAD_LETTER_TOPIC))
        return report

    def _publish(self, articles: int, bad_inputs: int) -> set[str]:
        """Publish good and bad records, mixed; the ids of the events that must be found."""
        expected: set[str] = set()
        values: list[tuple[str, bytes]] = []
        for number in range(articles):
            key = f"article-{number}"
            sentences = self._random.randint(1, 6)
            values.append((key, msgspec.json.encode(Article(id=key, text=" ".join([ATTACK] * sentences)))))
            expected |= bombings(key, sentences)
        bad = (b"\xff\xfe", b"{", b'{"text": "no id"}', b"[" * 20_000, b'{"id": "x", "text": 7}')
        values += [(f"bad-{number}", bad[number % len(bad)]) for number in range(bad_inputs)]
        self._random.shuffle(values)
        with KafkaProducer(**producer_options(self._kafka)) as producer:
            for key, value in values:
                producer.send(ARTICLES_TOPIC, key=key.encode(), value=value)
            producer.flush()
        return expected


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.2)


def _differ(event: Event, earlier: Event) -> bool:
    """In more than what a repeat may change: when it was extracted, and the last digits of a confidence."""
    (difference,) = differences({earlier.event_id: earlier}, [event])
    extracted_at = earlier.provenance.extracted_at
    provenance = msgspec.structs.replace(event.provenance, extracted_at=extracted_at)
    return difference.change is not Change.UNCHANGED or provenance != earlier.provenance


@contextmanager
def kafka_in(folder: Path, port: int) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(data_dir=folder / "kafka", port=port) as broker:
        create_topics(broker.bootstrap_servers, partitions=PARTITIONS)
        yield broker


def run(folder: Path, *, articles: int, bad_inputs: int, kills: int, outage_seconds: float, seed: int) -> Report:
    """Kill the processor, Kafka under it, and Kafka for good; then let it finish, and count."""
    port = free_port()
    with kafka_in(folder, port) as broker:
        chaos = Chaos(broker, folder, articles=articles, bad_inputs=bad_inputs, seed=seed)
        chaos.kill_while_it_starts()
        for _ in range(kills - 3):
            chaos.kill_in_mid_batch()
            _say(f"{chaos.report.kills} kills")
        chaos.kill_in_a_rebalance()
        running = chaos.start()
        _await(lambda: running.probe("ready")[0] == 200, "it has joined: one that only starts ends without Kafka")
        _await(lambda: chaos.done() or running.metric("tidings_articles_in_flight") > 0, "it works")
    # Kafka was stopped by that; the processor waits for it, and works again when it is back.
    time.sleep(outage_seconds)
    chaos.report.outages += 1
    with kafka_in(folder, port) as broker:
        _await(lambda: chaos.done() or running.metric("tidings_articles_in_flight") > 0, "it works again")
        os.kill(broker.pid, signal.SIGKILL)
        time.sleep(outage_seconds)
    chaos.report.outages += 1
    with kafka_in(folder, port):
        _await(chaos.done, "all is read")
        if running.stop():
            raise AssertionError("the processor did not end well after the outages")
        return chaos.count()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tidings-chaos-") as folder:
        report = run(Path(folder), articles=2000, bad_inputs=200, kills=20, outage_seconds=60, seed=0)
    print(report.table())
    print(json.dumps({"lost": report.lost}))
    return 1 if report.lost or report.differing or report.dead_letters < report.bad_inputs else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main())
