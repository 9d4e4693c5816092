"""Articles to the articles topic: sent, confirmed by Kafka, and counted."""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from services.clients.kafka import consumer_options, producer_options, reachable_kafka
from services.clients.topics import ARTICLES_TOPIC
from services.contracts import Article
from services.contracts.headers import ARTICLE_TYPE, cloud_event_headers

from .sources import Refusal, read_articles

logger = logging.getLogger(__name__)

_SOURCE = "tidings/producer"  # the CloudEvents `source`
# Sent and not yet confirmed, at most: the client holds it in memory and sets no bound of its own.
_MAX_UNCONFIRMED_BYTES = 32 * 1024 * 1024
# The topic is read back without a pause; so long a silence means that Kafka is gone.
_SILENCE_SECONDS = 30


class NotConfirmedError(Exception):
    """Kafka did not confirm some articles. The text says which, and what to do."""


class Receipt(msgspec.Struct, kw_only=True):
    """What a run did.

    `end_offsets` holds, by partition, the offset just past the last article of this run, published or found unchanged.
    """

    published: int = 0
    unchanged: int = 0
    refused: int = 0
    end_offsets: dict[int, int] = {}

    def reach(self, partition: int, offset: int) -> None:
        """Note that an article of this run is at `offset`."""
        self.end_offsets[partition] = max(self.end_offsets.get(partition, 0), offset + 1)


class Published(NamedTuple):
    """The latest version of an article in the topic: the SHA-256 of its bytes, and where it is."""

    sha256: str
    partition: int
    offset: int


def produce(paths: Iterable[Path | str], *, bootstrap_servers: str, changed_only: bool) -> Receipt:
    """Publish the articles of `paths`; with `changed_only`, those that the topic does not hold already, byte for byte.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached.
        NotConfirmedError: Kafka went away in between.
    """
    known = published_articles(bootstrap_servers) if changed_only else {}
    return publish(read_articles(paths), bootstrap_servers=bootstrap_servers, known=known)


def publish(items: Iterable[Article | Refusal], *, bootstrap_servers: str, known: Mapping[str, Published]) -> Receipt:
    """Publish the articles in their order and wait until Kafka has confirmed each. Refusals are logged and counted.

    An article that `known` has, with the same bytes, is counted as unchanged and not sent.
    """
    latest = dict(known)
    receipt = Receipt()
    with reachable_kafka(bootstrap_servers), KafkaProducer(**producer_options(bootstrap_servers)) as producer:
        outbox = _Outbox(producer, receipt)
        for item in items:
            if isinstance(item, Refusal):
                receipt.refused += 1
                logger.warning("refused: %s", item)
                continue
            value = msgspec.json.encode(item)
            sha256 = hashlib.sha256(value).hexdigest()
            earlier = latest.get(item.id)
            if earlier and earlier.sha256 == sha256:
                receipt.unchanged += 1
                receipt.reach(earlier.partition, earlier.offset)
                continue
            latest.pop(item.id, None)  # what the topic held is no longer its latest version
            outbox.send(item.id, value, sha256)
            if outbox.unconfirmed:
                break
        outbox.settle()
    if outbox.unconfirmed:
        raise NotConfirmedError(
            f"Kafka did not confirm {len(outbox.unconfirmed)} articles, from {outbox.unconfirmed[0]} to "
            f"{outbox.unconfirmed[-1]} ({outbox.cause}); it confirmed {receipt.published}. The sources were read no "
            "further. Mend that and publish them again: an article that is published twice yields the same events."
        )
    return receipt


def published_articles(bootstrap_servers: str) -> dict[str, Published]:
    """What the articles topic holds: by article id, its latest version."""
    latest: dict[str, Published] = {}
    with reachable_kafka(bootstrap_servers), KafkaConsumer(**consumer_options(bootstrap_servers)) as consumer:
        partitions = [
            TopicPartition(ARTICLES_TOPIC, number) for number in consumer.partitions_for_topic(ARTICLES_TOPIC)
        ]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        last_heard = time.monotonic()
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            records = [record for batch in consumer.poll(timeout_ms=1000).values() for record in batch]
            for record in records:
                if record.key is not None:  # the key of an article of ours is its id; others write here, too
                    sha256 = hashlib.sha256(record.value or b"").hexdigest()
                    latest[record.key.decode(errors="replace")] = Published(sha256, record.partition, record.offset)
            if records:
                last_heard = time.monotonic()
            elif time.monotonic() - last_heard > _SILENCE_SECONDS:
                raise KafkaTimeoutError(f"no answer for {_SILENCE_SECONDS} s while the articles were read back")
    return latest


class _Sent(NamedTuple):
    article_id: str
    size: int
    future: Any


class _Outbox:
    """The articles that were sent and are not confirmed yet, oldest first."""

    def __init__(self, producer: KafkaProducer, receipt: Receipt) -> None:
        self._producer = producer
        self._receipt = receipt
        self._sent: deque[_Sent] = deque()
        self._sent_bytes = 0
        self.unconfirmed: list[str] = []
        self.cause: KafkaError | None = None

    def send(self, article_id: str, value: bytes, sha256: str) -> None:
        headers = cloud_event_headers(event_id=sha256, event_type=ARTICLE_TYPE, source=_SOURCE)
        future = self._producer.send(ARTICLES_TOPIC, key=article_id.encode(), value=value, headers=headers)
        self._sent.append(_Sent(article_id, len(value), future))
        self._sent_bytes += len(value)
        while self._sent and (self._sent[0].future.is_done or self._sent_bytes > _MAX_UNCONFIRMED_BYTES):
            self._settle_oldest()

    def settle(self) -> None:
        """Wait until every article is confirmed, or known not to be."""
        while self._sent:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        article_id, size, future = self._sent.popleft()
        self._sent_bytes -= size
        try:
            record = future.get()
        except KafkaError as error:
            self.unconfirmed.append(article_id)
            self.cause = error
            logger.error("not confirmed: article %s: %s", article_id, error)
        else:
            self._receipt.published += 1
            self._receipt.reach(record.partition, record.offset)
