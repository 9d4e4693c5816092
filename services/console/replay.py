"""`tidings replay`: the articles of a time extracted again, and how their events differ from those that were published.

The new events go to a topic of their own, the shadow topic; the events topic is only read.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from services.clients.kafka import create_topics, producer_options
from services.clients.topics import ARTICLES_TOPIC, EVENTS_TOPIC, SHADOW_EVENTS_TOPIC, SHADOW_TOPICS
from services.contracts import Article, Event
from services.contracts.article import ArticleId
from services.contracts.headers import EVENT_TYPE, cloud_event_headers
from services.processor.assemble import assembled
from services.processor.extraction import ExtractorProcess
from services.processor.intake import Skip, read
from services.processor.rejection import Rejection
from services.settings import Settings

from .differences import Change, Difference, differences
from .errors import ConsoleError
from .moments import moment
from .reading import Bounds, bounds, reader, records

_SOURCE = "tidings/replay"  # the CloudEvents `source`
# Events come after their article, but by the clock of another machine.
_CLOCK_SKEW = timedelta(minutes=5)

Place = tuple[int, int]
"""Partition and offset of a record in the articles topic."""
Published = dict[tuple[str, str], dict[str, bytes]]
"""By article id and the SHA-256 of the text that was read: by event id, the latest event."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A record that cannot become events now, and why. Its published events, if there are any, are not compared."""

    partition: int
    offset: int
    stage: str
    exception: str
    message: str


class Summary(msgspec.Struct, kw_only=True):
    """Articles extracted, skipped (empty or not in English) and rejected; events by what has become of them."""

    model: str
    model_revision: str
    articles: int = 0
    skipped: int = 0
    rejected: int = 0
    new: int = 0
    gone: int = 0
    changed: int = 0
    unchanged: int = 0


def replay(settings: Settings, *, since: str, until: str) -> Iterator[Difference | Rejected | Summary]:
    """Extract the articles that arrived in [since, until) again, and yield what differs, the summary last.

    An article counts once, in its latest version of that time. Its events are compared with the latest of the same text
    in the events topic: what was read in another version of the article is no difference of the model. What is yielded
    is in the shadow topic, confirmed, before.

    Raises:
        ConsoleError: a time is none, or there is no articles or events topic.
        KafkaUnavailableError: Kafka cannot be reached, or goes away.
        StartError: the model does not load.
    """
    start, end = moment(since), moment(until)
    if start >= end:
        raise ConsoleError(f"--from {since} is not before --to {until}.")
    kafka = settings.bootstrap_servers
    create_topics(kafka, partitions=settings.partitions, topics=SHADOW_TOPICS)
    with (
        asyncio.Runner() as runner,
        ExtractorProcess(
            settings.model_dir, deadline_seconds=settings.extraction_seconds, on_restart=lambda: None
        ) as extractor,
        reader(kafka) as consumer,
        KafkaProducer(**producer_options(kafka)) as producer,
    ):
        runner.run(extractor.load())
        window = bounds(consumer, ARTICLES_TOPIC, since=start, until=end)
        latest = _latest(consumer, window)
        published = _published(consumer, start - _CLOCK_SKEW, set(latest.values()))
        summary = Summary(model=extractor.model.name, model_revision=extractor.model.revision)
        arrived = (record for record in records(consumer, window) if (record.partition, record.offset) in latest)
        while batch := list(islice(arrived, settings.batch_articles)):
            results = runner.run(_results(extractor, batch))
            _publish(producer, [event for _, events in results if isinstance(events, list) for event in events])
            for record, (article, events) in zip(batch, results, strict=True):
                yield from _compared(record, article, events, published, summary)
    yield summary


def _latest(consumer: KafkaConsumer, window: Bounds) -> dict[Place, str | None]:
    """Where the latest version of each article of this time is, and its id; none where a record has no id."""
    newest: dict[str | Place, tuple[int, Place]] = {}
    for record in records(consumer, window):
        place = (record.partition, record.offset)
        version = (record.timestamp, place)
        identity = _article_id(record.value) or place
        newest[identity] = max(version, newest.get(identity, version))
    return {place: identity if isinstance(identity, str) else None for identity, (_, place) in newest.items()}


class _Identified(msgspec.Struct):
    id: ArticleId


def _article_id(value: bytes | None) -> str | None:
    try:
        return msgspec.json.decode(value or b"", type=_Identified).id
    except (ValueError, RecursionError):
        return None


def _published(consumer: KafkaConsumer, since: datetime, article_ids: set[str | None]) -> Published:
    """The events of these articles. They are kept as JSON, in which they take a fraction of the memory."""
    found: Published = {}
    for record in records(consumer, bounds(consumer, EVENTS_TOPIC, since=since)):
        try:
            event = msgspec.json.decode(record.value or b"", type=Event)
        except (ValueError, RecursionError):
            continue  # not an event; `tidings tail` says so
        if event.article_id in article_ids:
            found.setdefault((event.article_id, event.article.text_sha256), {})[event.event_id] = record.value
    return found


async def _results(
    extractor: ExtractorProcess, batch: Sequence[ConsumerRecord]
) -> list[tuple[Article | None, list[Event] | Skip | Rejection]]:
    """What the processor would make of each record: the article, if it is one, and its events."""
    readings = [read(record.value) for record in batch]
    articles = [reading for reading in readings if isinstance(reading, Article)]
    extractions = iter(await extractor.extract(articles) if articles else [])
    results: list[tuple[Article | None, list[Event] | Skip | Rejection]] = []
    for record, reading in zip(batch, readings, strict=True):
        if isinstance(reading, Skip):
            article = msgspec.json.decode(record.value, type=Article) if record.value else None
            results.append((article, reading))
        elif isinstance(reading, Rejection):
            results.append((None, reading))
        else:
            results.append((reading, assembled(reading, next(extractions), extractor.model)))
    return results


def _publish(producer: KafkaProducer, events: Iterable[Event]) -> None:
    """To the shadow topic, as the processor publishes to its own. Returns when Kafka has confirmed all."""
    futures = [
        producer.send(
            SHADOW_EVENTS_TOPIC,
            key=event.article_id.encode(),
            value=msgspec.json.encode(event),
            headers=cloud_event_headers(event_id=event.event_id, event_type=EVENT_TYPE, source=_SOURCE),
        )
        for event in events
    ]
    for future in futures:
        future.get()


def _compared(
    record: ConsumerRecord,
    article: Article | None,
    events: list[Event] | Skip | Rejection,
    published: Published,
    summary: Summary,
) -> Iterator[Difference | Rejected]:
    """What differs for one article, counted as well."""
    if isinstance(events, Rejection):
        summary.rejected += 1
        yield Rejected(
            partition=record.partition,
            offset=record.offset,
            stage=events.stage.value,
            exception=events.exception,
            message=events.message,
        )
        return
    if isinstance(events, Skip):
        summary.skipped += 1
        events = []
    else:
        summary.articles += 1
    before = published.get((article.id, article.body_sha256), {}) if article else {}
    decoded = {event_id: msgspec.json.decode(value, type=Event) for event_id, value in before.items()}
    for difference in differences(decoded, events):
        name = difference.change.value
        setattr(summary, name, getattr(summary, name) + 1)
        if difference.change is not Change.UNCHANGED:
            yield difference
