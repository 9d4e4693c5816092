"""What is committed is done with: the numbered list in `services/processor/app.py`, against Faust's own arithmetic.

First with Kafka and the model held back, which answer when they are told to: Faust's consumer, its stream and our walk
are the real ones. Then on a real Kafka. Each time, controls that acknowledge in another way are caught.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self, cast

import faust
import msgspec
import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import Fetcher
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.errors import NotLeaderForPartitionError
from prometheus_client import CollectorRegistry

from services.clients.kafka import producer_options
from services.clients.topics import ARTICLES_TOPIC
from services.contracts import Article
from services.extractor.mention import Extraction, Mention, ModelIdentity
from services.processor.app import create_app
from services.processor.assemble import assemble
from services.processor.extraction import ExtractorProcess
from services.processor.health import Health
from services.processor.metrics import Metrics
from services.processor.publish import event_record, publish
from services.processor.rejection import Rejection, Stage
from services.settings import Settings

from .conftest import PATIENCE_SECONDS
from .running import committed, group_at_the_end

Walk = Callable[[faust.Stream[Any]], Awaitable[None]]

MODEL = ModelIdentity(name="stand-in", revision="r", taxonomy_version="1.2")
METRICS = Metrics(CollectorRegistry())
HEALTH = Health(stuck_seconds=PATIENCE_SECONDS)
BATCH = 4

ARTICLE, BOOK, BROKEN, REJECTED, EMPTY = "article", "book", "broken", "rejected", "empty"
TEXTS = {
    ARTICLE: "Warplanes bombed the town.",
    BOOK: "Warplanes bombed the town." + " " * 300_000,  # two of them are more than one step
    REJECTED: "The model cannot read this.",
    EMPTY: "",
}
# How many records Kafka must have confirmed before one of the articles topic is done with: its events or a dead letter.
CONFIRMATIONS = {ARTICLE: 2, BOOK: 2, BROKEN: 1, REJECTED: 1, EMPTY: 0}


def found_in(article: Article) -> Extraction | Rejection:
    """Two events, or none where the text is the one that the model cannot read."""
    if article.text == TEXTS[REJECTED]:
        return Rejection(stage=Stage.EXTRACT, exception="RuntimeError", message="cannot")
    mentions = [
        Mention(
            type="conflict.attack",
            realis="asserted",
            root=None,
            mode=None,
            confidence=0.5,
            trigger_start=start,
            trigger_end=start + 1,
            fillers=[],
            sentence_start=0,
            sentence_end=26,
            sentence_index=0,
        )
        for start in (0, 10)
    ]
    return Extraction(mentions=mentions, chars_read=len(article.text))


class Record(NamedTuple):
    """A record of the articles topic."""

    tp: TP
    offset: int
    kind: str

    @property
    def key(self) -> bytes:
        """Its article's id: events and dead letters carry it, too."""
        return f"{self.tp.partition}:{self.offset}".encode()

    @property
    def value(self) -> bytes:
        if self.kind == BROKEN:
            return b"{"
        return msgspec.json.encode(Article(id=self.key.decode(), text=TEXTS[self.kind], language="en"))


class Outside:
    """Kafka and the model. It notes whatever is committed before it is done with."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.committed = {record.tp: 0 for record in records}
        self.confirmed = Counter[bytes]()
        self.wrongly_committed: list[tuple[Record, int]] = []
        self._asked: list[tuple[asyncio.Future[None], Exception]] = []

    async def answer(self, failure: Exception) -> None:
        """Wait until told to answer; raise the failure when told to fail."""
        future = asyncio.get_running_loop().create_future()
        self._asked.append((future, failure))
        await future

    def is_asked(self) -> bool:
        self._asked = [(future, failure) for future, failure in self._asked if not future.done()]
        return bool(self._asked)

    def tell(self, which: int, fails: bool) -> None:
        """Answer one of those that ask."""
        future, failure = self._asked.pop(which % len(self._asked))
        if fails:
            future.set_exception(failure)
        else:
            future.set_result(None)

    def unfinished(self) -> list[Record]:
        return [record for record in self.records if self.confirmed[record.key] < CONFIRMATIONS[record.kind]]

    def commit(self, offsets: Mapping[TP, int]) -> None:
        self.wrongly_committed += [
            (record, offsets[record.tp])
            for record in self.unfinished()
            if record.tp in offsets and record.offset < offsets[record.tp]
        ]
        self.committed.update(offsets)

    def ends(self) -> dict[TP, int]:
        return {record.tp: record.offset + 1 for record in self.records}


class HeldExtractor(ExtractorProcess):
    model = MODEL

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def extract(self, articles: Sequence[Article]) -> list[Extraction | Rejection]:
        await self._outside.answer(failure=RuntimeError("a defect"))
        return [found_in(article) for article in articles]


class HeldProducer:
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def send(self, _topic: str, key: bytes, *_: object, **__: object) -> Awaitable[None]:
        return asyncio.ensure_future(self._confirm(key))

    async def _confirm(self, key: bytes) -> None:
        await self._outside.answer(failure=NotLeaderForPartitionError())
        self._outside.confirmed[key] += 1

    async def flush(self) -> None:
        """Faust's commit asks for it; nothing of ours is buffered."""


class HeldConsumer(Consumer):
    """Faust's own, with the outside where its connection to Kafka would be."""

    def __init__(self, app: faust.App, outside: Outside, deliver: Callable[[ConsumerMessage], Awaitable[None]]) -> None:
        super().__init__(app.transport, deliver, app._on_partitions_revoked, app._on_partitions_assigned)
        self._outside = outside
        self._thread = self

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return dict(self._outside.committed)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        for message in self.messages():
            yield message.tp, message
        await asyncio.Event().wait()

    def messages(self) -> list[ConsumerMessage]:
        """What is not committed yet."""
        return [
            ConsumerMessage(*record.tp, record.offset, 0.0, 0, [], record.key, record.value, None, tp=record.tp)
            for record in self._outside.records
            if record.offset >= self._outside.committed[record.tp]
        ]

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self._outside.commit(offsets)
        return True

    # What our counting of attempts asks of the thread in which Faust keeps aiokafka's consumer.

    def _ensure_consumer(self) -> SimpleNamespace:
        return SimpleNamespace(
            commit=self._commit_places, _coordinator=SimpleNamespace(fetch_committed_offsets=self._fetch_places)
        )

    async def call_thread(self, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await method(*args)

    async def _commit_places(self, places: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self._outside.commit({TP(*partition): place.offset for partition, place in places.items()})

    async def _fetch_places(self, _: object) -> dict[TopicPartition, OffsetAndMetadata]:
        return {}

    def assignment(self) -> set[TP]:
        return set(self._outside.committed)

    def highwater(self, tp: TP) -> int:
        return self._outside.ends()[tp]


class Life:
    """A processor from its start, where it goes on from what is committed, to its end, whatever it is at."""

    def __init__(self, outside: Outside, walk: Callable[[faust.App, ExtractorProcess], Walk] | None = None) -> None:
        extractor = HeldExtractor(outside)
        self.outside = outside
        self.app = create_app(Settings(batch_articles=BATCH, batch_wait_seconds=0.001), "", extractor, METRICS, HEALTH)
        self.app.producer = HeldProducer(outside)
        self.app.consumer = self.consumer = HeldConsumer(self.app, outside, self._deliver)
        self.app.topics._acking_topics.add(ARTICLES_TOPIC)  # as if subscribed
        self.app.flow_control.resume()
        self._stream = self.app.stream(self.app.channel())
        self._walk = walk(self.app, extractor) if walk else self.app.agents["processor"].fun

    async def _deliver(self, message: ConsumerMessage) -> None:
        message.incref()
        message.generation_id = self.app.consumer_generation_id
        await self._stream.channel.queue.put(self.app.create_event(message.key, message.value, None, message))

    async def __aenter__(self) -> Self:
        await self.consumer.perform_seek()
        self._fetching = asyncio.ensure_future(self.consumer._drain_messages(Fetcher(self.app)))
        self._walking = asyncio.ensure_future(self._walk(self._stream))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._fetching.cancel()
        self._walking.cancel()
        await asyncio.wait({self._fetching, self._walking})
        await self._stream.stop()
        await self.consumer.commit()  # the last that Faust does

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it, unless the walk has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (condition() or self._walking.done()):
                await asyncio.sleep(0)

    async def answered(self, answers: Iterable[tuple[int, bool]]) -> None:
        """Tell the outside so many answers: which of the questions, and whether it fails."""
        for which, fails in answers:
            await self.until(lambda: self.outside.is_asked() or not self.outside.unfinished())
            if self.outside.is_asked():
                self.outside.tell(which, fails)
                for _ in range(10):  # the answer gets to where it is waited for, and the next question is asked
                    await asyncio.sleep(0)
                await self.consumer.commit()  # Faust does that every few seconds, at any time

    async def finished(self) -> None:
        """Everything is answered, until all is committed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.outside.committed != self.outside.ends():
                while self.outside.is_asked():
                    self.outside.tell(0, False)
                await self.consumer.commit()
                await asyncio.sleep(0)


def records(kinds: Iterable[tuple[int, int, str]]) -> list[Record]:
    """The records, as they are read: of a partition, after so many offsets that are missing, of a kind."""
    # From offset 1: Faust overlooks a hole after offset 0, and commits nothing there until it is started again.
    ends: dict[int, int] = {}
    made = []
    for partition, missing, kind in kinds:
        offset = ends.get(partition, 1) + missing
        ends[partition] = offset + 1
        made.append(Record(TP(ARTICLES_TOPIC, partition), offset, kind))
    return made


ARTICLES = records([(0, 0, ARTICLE)] * BATCH)


def acknowledged(*offsets: int) -> Outside:
    """What Faust commits when articles are done with, acknowledged and committed in this order."""

    async def scenario() -> Outside:
        outside = Outside(ARTICLES)
        life = Life(outside)
        await life.consumer.perform_seek()
        messages = life.consumer.messages()
        for offset in offsets:
            outside.confirmed[ARTICLES[offset].key] = CONFIRMATIONS[ARTICLE]
            life.consumer.ack(messages[offset])
            await life.consumer.commit()
        return outside

    return asyncio.run(scenario())


def test_faust_commits_what_is_acknowledged_in_order() -> None:
    outside = acknowledged(0, 1, 2, 3)
    assert outside.committed == outside.ends()
    assert not outside.wrongly_committed


@pytest.mark.parametrize(
    ("offsets", "jumped"),
    [
        pytest.param((0, 2), 1, id="one is missing"),
        pytest.param((2,), 0, id="nothing is committed yet"),
    ],
)
def test_faust_commits_over_articles_when_acknowledged_out_of_order(offsets: tuple[int, ...], jumped: int) -> None:
    """Why ours are acknowledged in order. Should a new faust be better than that, this says so."""
    assert ARTICLES[jumped] in [record for record, _ in acknowledged(*offsets).wrongly_committed]


def test_faust_does_not_commit_over_a_wider_gap() -> None:
    outside = acknowledged(0, 3)
    assert not outside.wrongly_committed
    assert outside.committed == {ARTICLES[0].tp: ARTICLES[1].offset}


# Kafka leaves a hole where a record was removed and where a transaction ends.
RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 0, 0, 1, 3]),
        st.sampled_from([ARTICLE, ARTICLE, BOOK, BROKEN, REJECTED, EMPTY]),
    ),
    min_size=1,
    max_size=3 * BATCH,
).map(records)
# A refusal of Kafka's is waited for; the extractor's failure is a defect, and ends the life by a crash.
ANSWERS = st.lists(st.tuples(st.integers(0, 7), st.sampled_from([False] * 7 + [True])), max_size=30)


@given(RECORDS, st.lists(ANSWERS, max_size=3))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_nothing_unfinished_is_committed_and_nothing_lost_however_often_it_ends(
    articles: list[Record], lives: list[list[tuple[int, bool]]]
) -> None:
    outside = Outside(articles)

    async def scenario() -> None:
        for answers in lives:
            async with Life(outside) as life:
                await life.answered(answers)
        async with Life(outside) as life:
            await life.finished()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.processor.publish._FIRST_WAIT_SECONDS", 0.0)
        asyncio.run(scenario())
    assert not outside.wrongly_committed
    assert not outside.unfinished()


def by_take(app: faust.App, extractor: ExtractorProcess) -> Walk:
    """As Faust's documentation has it: what `take` yielded is acknowledged once the body of the loop is left."""

    async def walk(stream: faust.Stream[bytes]) -> None:
        async for values in stream.take(BATCH, within=0.001):
            articles = [msgspec.json.decode(value, type=Article) for value in values]
            extractions = cast(list[Extraction], await extractor.extract(articles))
            for article, extraction in zip(articles, extractions, strict=True):
                await publish(app.producer, list(map(event_record, assemble(article, extraction, MODEL))), METRICS)

    return walk


def each_for_itself(app: faust.App, extractor: ExtractorProcess) -> Walk:
    """Concurrently, and each acknowledged once its own events are confirmed."""

    async def walk(stream: faust.Stream[bytes]) -> None:
        async def one(event: faust.Event) -> None:
            article = msgspec.json.decode(event.value, type=Article)
            (extraction,) = cast(list[Extraction], await extractor.extract([article]))
            await publish(app.producer, list(map(event_record, assemble(article, extraction, MODEL))), METRICS)
            await stream.ack(event)

        async for events in stream.noack_take(BATCH, within=PATIENCE_SECONDS):
            await asyncio.gather(*map(one, events))

    return walk


@pytest.mark.parametrize(
    ("walk", "answers", "caught"),
    [
        pytest.param(None, [], False, id="ours, ended while it extracts"),
        pytest.param(None, [0], False, id="ours, ended while it publishes"),
        pytest.param(by_take, [], True, id="take, ended while it extracts"),
        pytest.param(by_take, [0], True, id="take, ended while it publishes"),
        pytest.param(each_for_itself, [-1, -1, -1], True, id="out of order, ended when the last article is done with"),
    ],
)
def test_who_acknowledges_in_another_way_is_caught(
    walk: Callable[[faust.App, ExtractorProcess], Walk] | None, answers: list[int], caught: bool
) -> None:
    outside = Outside(ARTICLES)

    async def scenario() -> None:
        async with Life(outside, walk) as life:
            await life.until(outside.is_asked)
            await life.answered([(which, False) for which in answers])
            await life.until(outside.is_asked)

    asyncio.run(scenario())
    assert bool(outside.wrongly_committed) == caught


class StuckExtractor(ExtractorProcess):
    """It never comes back from a book."""

    model = MODEL

    def __init__(self) -> None:
        self.stuck_with: list[str] = []
        self.done_with: list[str] = []

    async def extract(self, articles: Sequence[Article]) -> list[Extraction | Rejection]:
        if any(article.text == TEXTS[BOOK] for article in articles):
            self.stuck_with = [article.id for article in articles]
            await asyncio.Event().wait()
        self.done_with += [article.id for article in articles]
        return [found_in(article) for article in articles]


def send_to_one_partition(kafka: str, articles: Sequence[Article]) -> dict[str, int]:
    """By id, the offset of each."""
    with KafkaProducer(**producer_options(kafka)) as producer:
        sent = [
            producer.send(ARTICLES_TOPIC, key=article.id.encode(), value=msgspec.json.encode(article), partition=0)
            for article in articles
        ]
        return {article.id: future.get(PATIENCE_SECONDS).offset for article, future in zip(articles, sent, strict=True)}


async def crash(app: faust.App) -> None:
    await app.crash(RuntimeError("a crash of the app"))


async def cancel(app: faust.App) -> None:
    (actor,) = app.agents["processor"]._actors
    actor.actor_task.cancel()


# What `take` commits in a crash hangs on which of Faust's services ends first, so that its control is the cancellation.
@pytest.mark.parametrize(
    ("walk", "end", "caught"),
    [
        pytest.param(None, crash, False, id="ours, in a crash"),
        pytest.param(None, cancel, False, id="ours, when cancelled"),
        pytest.param(by_take, cancel, True, id="take, when cancelled"),
    ],
)
def test_kafka_is_told_of_nothing_unfinished_when_it_ends_in_mid_batch(
    kafka: str,
    tmp_path: Path,
    end: Callable[[faust.App], Awaitable[None]],
    walk: Callable[[faust.App, ExtractorProcess], Walk] | None,
    caught: bool,
) -> None:
    group = group_at_the_end(kafka)
    before = [Article(id=f"{group}-{number}", text=TEXTS[ARTICLE], language="en") for number in range(BATCH)]
    book = Article(id=f"{group}-book", text=TEXTS[BOOK], language="en")
    after = [Article(id=f"{group}-after-{number}", text=TEXTS[ARTICLE], language="en") for number in range(BATCH)]
    offsets = send_to_one_partition(kafka, [*before, book])
    extractor = StuckExtractor()

    async def scenario() -> None:
        options = Settings(kafka_bootstrap_servers=kafka, consumer_group=group, batch_articles=BATCH)
        app = create_app(options, str(tmp_path), extractor, METRICS, HEALTH)
        if walk:
            app.agents["processor"].fun = walk(app, extractor)
        await app.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not extractor.stuck_with:
                await asyncio.sleep(0.01)
            # Those that come after a batch of one are what Faust would commit over it, if the walk went on.
            offsets.update(await asyncio.to_thread(send_to_one_partition, kafka, after))
            await end(app)
            while not (app.should_stop or after[-1].id in extractor.done_with):
                await asyncio.sleep(0.01)
            await app.stop()

    asyncio.run(scenario())
    first_unfinished = min(offsets[article] for article in extractor.stuck_with)
    now = committed(kafka, group)[0]
    assert now > min(offsets.values()), "what came before is committed"
    assert (now > first_unfinished) == caught
