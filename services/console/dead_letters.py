"""The dead letters: which there are, and what a person does with them.

Kafka has no way to take one record out of a topic. So a letter that was retried or dropped has a resolution after it, a
record of the same topic and partition without a value, whose headers name the letter. Whoever reads the topic from its
start knows which letters are still open; a resolution is younger than its letter, and is kept at least as long.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, RetriableError

from services.clients.kafka import producer_options
from services.clients.topics import DEAD_LETTER_TOPIC
from services.contracts.headers import (
    ACTION_HEADER,
    RESOLVES_HEADER,
    Headers,
    failures,
    number,
    resolution_headers,
    retry_headers,
    split_error_context,
)

from .errors import ConsoleError
from .moments import optional_moment
from .reading import bounds, reader, record_at, records

logger = logging.getLogger(__name__)

Action = Literal["retry", "drop"]

# Letters are published again, and marked, by so few at a time: each may have 5 MiB.
_CHUNK = 20
# Unlike our other producers, this one meets records that Kafka may refuse: a value that was left out is larger than
# what they send, and whether it fits, packed, Kafka says. A refusal would end an idempotent producer of kafka-python;
# without idempotence a repeat is possible, which does no harm, and one request at a time keeps the order.
_RETRY_OPTIONS = {
    "max_request_size": 2**31 - 1,
    "enable_idempotence": False,
    "max_in_flight_requests_per_connection": 1,
}


class Origin(msgspec.Struct, frozen=True):
    """Where the record was when it failed."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter without its value. Bytes that are no UTF-8 are escaped; what its headers do not say is empty."""

    id: str
    """Its partition and offset in the dead-letter topic."""
    time: datetime
    key: str | None
    stage: str
    exception: str
    message: str
    attempt: int
    origin: Origin | None
    left_out_bytes: int | None
    """The length of a value that was too large for this topic."""
    done: str | None = None
    """How it was resolved, if it was: retry or drop."""

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset in the dead-letter topic."""
        return _place(self.id)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters a person means: those named, or all that pass every filter."""

    ids: Sequence[str] = ()
    reason: str | None = None
    """A part of exception or message, in capitals or not."""
    stage: str | None = None
    since: str | None = None
    until: str | None = None
    all_letters: bool = False
    """Consent to every open letter."""

    def require_one(self) -> None:
        """See that it says what is meant, before anything is done to letters.

        Raises:
            ConsoleError: it names nothing, or says it in two ways.
        """
        filtered = any(part is not None for part in (self.reason, self.stage, self.since, self.until))
        if [bool(self.ids), filtered, self.all_letters].count(True) != 1:
            raise ConsoleError(
                "Say which letters, in one of three ways: by ID, as `tidings dlq ls` shows them; by filters (--reason, "
                "--stage, --since, --until); or all that are open, by --all-letters."
            )


class Outcome(msgspec.Struct, kw_only=True):
    """What became of the letters that were chosen."""

    retried: int = 0
    dropped: int = 0
    refused: int = 0


def as_text(content: bytes) -> str:
    """UTF-8 as it is; bytes that are none as `\\xff`."""
    return content.decode(errors="backslashreplace")


def letters(bootstrap_servers: str, choice: Choice, *, done_too: bool) -> list[Letter]:
    """The letters of this choice, newest last; those that are done only if asked for.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached.
        ConsoleError: a time is none, or there is no dead-letter topic.
    """
    with reader(bootstrap_servers) as consumer:
        return _letters(consumer, choice, done_too=done_too)


def open_letter(bootstrap_servers: str, letter_id: str) -> tuple[Letter, Headers, bytes | None]:
    """One letter, open or done: with its own headers and its value, from its origin if it was left out here. The value
    is None if it is gone there, too.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached.
        ConsoleError: there is no such letter.
    """
    with reader(bootstrap_servers) as consumer:
        (letter,) = _letters(consumer, Choice(ids=[letter_id]), done_too=True)
        record = record_at(consumer, DEAD_LETTER_TOPIC, *letter.place)
        if record is None:
            raise _gone(letter)
        return letter, split_error_context(record.headers)[0], _value(consumer, letter, record)


def retry(bootstrap_servers: str, choice: Choice) -> Outcome:
    """Publish the letters again where they came from, as they came, with the count of their failures beside.

    A letter is marked as done only when Kafka has confirmed what was published: what happens between the two repeats an
    article and loses none. A letter that cannot be published is logged, and stays open.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached, or goes away; what was not marked by then stays open.
        ConsoleError: the choice is none, names what is no letter, or there is no dead-letter topic.
    """
    choice.require_one()
    outcome = Outcome()
    options = producer_options(bootstrap_servers) | _RETRY_OPTIONS
    with reader(bootstrap_servers) as consumer, KafkaProducer(**options) as producer:
        chosen = iter(_letters(consumer, choice, done_too=bool(choice.ids)))
        while chunk := list(islice(chosen, _CHUNK)):
            published = list(_published(consumer, producer, chunk))
            _mark(producer, published, "retry")
            outcome.retried += len(published)
            outcome.refused += len(chunk) - len(published)
    return outcome


def drop(bootstrap_servers: str, choice: Choice) -> Outcome:
    """Mark the letters as done. They stay in the topic for as long as it keeps records.

    Raises:
        KafkaUnavailableError: Kafka cannot be reached, or goes away; what was not marked by then stays open.
        ConsoleError: the choice is none, names what is no letter, or there is no dead-letter topic.
    """
    choice.require_one()
    with reader(bootstrap_servers) as consumer, KafkaProducer(**producer_options(bootstrap_servers)) as producer:
        chosen = _letters(consumer, choice, done_too=bool(choice.ids))
        _mark(producer, chosen, "drop")
    return Outcome(dropped=len(chosen))


def _letters(consumer: KafkaConsumer, choice: Choice, *, done_too: bool) -> list[Letter]:
    since, until = optional_moment(choice.since), optional_moment(choice.until)
    ids = {"{}:{}".format(*_place(letter_id)) for letter_id in choice.ids}
    found: dict[str, Letter] = {}
    # To the end, whatever `until` says: that is where resolutions are.
    for record in records(consumer, bounds(consumer, DEAD_LETTER_TOPIC, since=since)):
        if record.value is not None:
            letter = _letter(record)
            found[letter.id] = letter
        elif resolution := _resolution(record):
            letter_id, action = resolution
            if letter_id in found:
                found[letter_id] = msgspec.structs.replace(found[letter_id], done=action)
    if absent := ids - found.keys():
        raise ConsoleError(
            f"There is no letter {', '.join(sorted(absent))} in {DEAD_LETTER_TOPIC}. `tidings dlq ls --all` shows "
            "which there are."
        )
    chosen = [
        letter
        for letter in found.values()
        if (not ids or letter.id in ids)
        and (done_too or not letter.done)
        and (choice.stage is None or letter.stage == choice.stage)
        and (choice.reason is None or choice.reason.lower() in f"{letter.exception}: {letter.message}".lower())
        and (since is None or letter.time >= since)
        and (until is None or letter.time < until)
    ]
    return sorted(chosen, key=lambda letter: (letter.time, letter.place))


def _letter(record: ConsumerRecord) -> Letter:
    _, context = split_error_context(record.headers)
    partition, offset = number(context.get("partition")), number(context.get("offset"))
    origin = None
    if context.get("topic") and partition is not None and offset is not None:
        origin = Origin(context["topic"], partition, offset)
    return Letter(
        id=f"{record.partition}:{record.offset}",
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=None if record.key is None else as_text(record.key),
        stage=context.get("stage", ""),
        exception=context.get("exception", ""),
        message=context.get("message", ""),
        attempt=failures(context) or 1,
        origin=origin,
        left_out_bytes=number(context.get("left_out_bytes")),
    )


def _resolution(record: ConsumerRecord) -> tuple[str, str] | None:
    """Which letter the record resolves, and how; none if it is no resolution."""
    headers = {name: as_text(value or b"") for name, value in record.headers}
    letter_id = headers.get(RESOLVES_HEADER)
    return (letter_id, headers.get(ACTION_HEADER, "")) if letter_id else None


def _place(letter_id: str) -> tuple[int, int]:
    partition, _, offset = letter_id.partition(":")
    place = number(partition), number(offset)
    if place[0] is None or place[1] is None:
        raise ConsoleError(f"{letter_id!r} is no letter's ID, which is like 2:17. `tidings dlq ls` shows them.")
    return place[0], place[1]


def _value(consumer: KafkaConsumer, letter: Letter, record: ConsumerRecord) -> bytes | None:
    """The value of this letter; where it was left out, what its origin has, if it still has it."""
    value: bytes | None = record.value
    if letter.left_out_bytes is None:
        return value
    origin = letter.origin
    original = origin and record_at(consumer, origin.topic, origin.partition, origin.offset)
    value = original.value if original else None
    # A topic that was created anew has other records at the same places.
    return value if value is not None and len(value) == letter.left_out_bytes else None


def _published(consumer: KafkaConsumer, producer: KafkaProducer, chosen: Iterable[Letter]) -> Iterator[Letter]:
    """Those of the letters that Kafka has confirmed at their origin."""
    sent = []
    for letter in chosen:
        try:
            sent.append((letter, _send(consumer, producer, letter)))
        except ConsoleError as error:
            logger.error("%s", error)
    for letter, future in sent:
        try:
            future.get()
        except RetriableError:
            raise
        except KafkaError as error:
            logger.error("letter %s is not published again: %s does not take it: %s", letter.id, letter.origin, error)
        else:
            yield letter


def _send(consumer: KafkaConsumer, producer: KafkaProducer, letter: Letter) -> Any:
    """The future of the record at its origin."""
    record = record_at(consumer, DEAD_LETTER_TOPIC, *letter.place)
    if record is None:
        raise _gone(letter)
    origin = letter.origin
    if origin is None or not consumer.partitions_for_topic(origin.topic):
        raise ConsoleError(
            f"letter {letter.id} is not published again: its headers name no topic of this Kafka that it came from. "
            f"`tidings dlq show {letter.id} --raw` has its value, `tidings dlq drop {letter.id}` marks it as done."
        )
    value = _value(consumer, letter, record)
    if value is None:
        raise ConsoleError(
            f"letter {letter.id} is not published again: its value of {letter.left_out_bytes} bytes was left out, and "
            f"{origin} does not have it any more. `tidings dlq drop {letter.id}` marks it as done."
        )
    headers, _ = split_error_context(record.headers)
    if any(content is None for _, content in headers):
        raise ConsoleError(
            f"letter {letter.id} is not published again: it has a header that is null, which this client cannot send."
        )
    # To its own partition, whatever partitioner its publisher had: the versions of an article stay in order.
    partition = origin.partition if origin.partition in consumer.partitions_for_topic(origin.topic) else None
    return producer.send(
        origin.topic,
        key=record.key,
        value=value,
        headers=headers + retry_headers(attempt=letter.attempt),
        partition=partition,
    )


def _gone(letter: Letter) -> ConsoleError:
    return ConsoleError(f"letter {letter.id} is gone: {DEAD_LETTER_TOPIC} has removed it, for its age, just now.")


def _mark(producer: KafkaProducer, resolved: Iterable[Letter], action: Action) -> None:
    """Record that the letters are done, beside them. Returns when Kafka has confirmed it."""
    futures = []
    for letter in resolved:
        partition, offset = letter.place
        headers = resolution_headers(partition=partition, offset=offset, action=action)
        futures.append(
            producer.send(DEAD_LETTER_TOPIC, key=letter.id.encode(), value=None, headers=headers, partition=partition)
        )
    for future in futures:
        future.get()
