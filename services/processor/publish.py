"""Records to Kafka: sent, and waited for until every one is confirmed."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from faust.types.transports import ProducerT

from services.clients.topics import EVENTS_TOPIC
from services.contracts import Event
from services.contracts.headers import EVENT_TYPE, Headers, cloud_event_headers

from .metrics import Metrics

logger = logging.getLogger(__name__)

_SOURCE = "tidings/processor"  # the CloudEvents `source`
# The first wait is short, since most refusals are a change of leader; the longest is what a person bears to watch.
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
# Sent and not yet confirmed, at most: the client's work grows with the square of it. 15,000 events of a book took 75 s
# at once and 2.3 s by 500.
_UNCONFIRMED_RECORDS = 500


class Record(NamedTuple):
    """A record to be published."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


def event_record(event: Event) -> Record:
    """An event as a CloudEvent, under its article's id: the events of an article share a partition."""
    headers = cloud_event_headers(event_id=event.event_id, event_type=EVENT_TYPE, source=_SOURCE)
    return Record(topic=EVENTS_TOPIC, key=event.article_id.encode(), value=msgspec.json.encode(event), headers=headers)


async def publish(producer: ProducerT, records: Sequence[Record], metrics: Metrics) -> None:
    """Return once Kafka has confirmed all records. While it refuses some or is away: wait, and send those again."""
    for first in range(0, len(records), _UNCONFIRMED_RECORDS):
        await _confirm(producer, records[first : first + _UNCONFIRMED_RECORDS], metrics)


async def _confirm(producer: ProducerT, records: Sequence[Record], metrics: Metrics) -> None:
    wait = _FIRST_WAIT_SECONDS
    reason = ""
    while records:
        outcomes = await asyncio.gather(*(_send(producer, record) for record in records), return_exceptions=True)
        refused = [
            (record, outcome)
            for record, outcome in zip(records, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        ]
        records = [record for record, _ in refused]
        if not refused:
            break
        metrics.kafka_refusals.inc(len(refused))
        metrics.waiting_for_kafka.set(1)
        if (newest := repr(refused[0][1])) != reason:  # once for each reason, not for each attempt
            reason = newest
            logger.warning(
                "Kafka has not taken %d of %d records (%s); they are sent again until it does, at most %.0f s apart",
                len(refused),
                len(outcomes),
                reason,
                _LONGEST_WAIT_SECONDS,
            )
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
    if reason:
        metrics.waiting_for_kafka.set(0)
        logger.info("Kafka has taken them")


async def _send(producer: ProducerT, record: Record) -> None:
    # No timestamp: a record's time is its ingestion, or retention would remove the events of an old article at once.
    confirmation = await producer.send(
        record.topic, record.key, record.value, partition=None, timestamp=None, headers=record.headers
    )
    await confirmation
