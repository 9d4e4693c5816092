"""Whatever comes as an article is extracted, skipped, or set aside with a reason; nothing of it stops the processor."""

import json
from pathlib import Path

import msgspec
import pytest
from faust.types.tuples import ConsumerMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer

from services.broker import EmbeddedBroker, free_port
from services.clients.kafka import create_topics, producer_options
from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, MAX_ARTICLE_BYTES, MAX_RECORD_BYTES
from services.contracts import Article, Event
from services.extractor.mention import Extraction, Filler, Mention, ModelIdentity
from services.processor.assemble import SpanError, assemble
from services.processor.dead_letters import dead_letter
from services.processor.intake import Skip, read
from services.processor.metrics import OUTCOMES
from services.processor.publish import event_record
from services.processor.rejection import Rejection

from .conftest import PATIENCE_SECONDS
from .running import Running, stored, wait_until

MODEL = ModelIdentity(name="m", revision="r", taxonomy_version="1.2")
EXAMPLES = 12_000  # some of them alike
CODECS = [None, "gzip", "lz4", "snappy", "zstd"]

# Emoji of one and of several code points, combining marks, directions, invisible and unassigned characters.
ODD = st.text(
    st.sampled_from("aB .\n\t\x00😀👩\u200d🏴\U000e0067e\u0301\u0308\u202e\u202c\ufeff\u2028𝔚é\uffff"),
    max_size=40,
)
TEXT = ODD | st.text(max_size=40) | st.sampled_from(["Warplanes bombed the town.", " \n\t" * 1000])
DATES = st.sampled_from(
    [
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "2020-02-30T00:00:00Z",
        "2020-06-30T23:59:60Z",
        "2020-07-10",
        "",
    ]
)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | ODD | st.lists(st.integers(), max_size=3)
FIELDS = st.fixed_dictionaries(
    {"id": ODD.filter(bool) | st.just("x" * 513)},
    optional={
        "text": TEXT,
        "title": TEXT,
        "publisher": st.none() | ODD,
        "published_at": DATES,
        "language": st.sampled_from(["en", "de", "und", "", "EN_us", "-"]) | ODD,
        "unknown": ANYTHING,
    },
)
WRONG_TYPES = st.dictionaries(st.sampled_from(["id", "text", "title", "published_at", "url"]), ANYTHING, max_size=4)
ARTICLES = FIELDS.map(lambda fields: json.dumps(fields, ensure_ascii=False).encode())
SURROGATES = st.builds(
    lambda field, escape: f'{{"id": "a", "text": "b", "{field}": "{escape}"}}'.encode(),
    st.sampled_from(["id", "title", "unknown"]),
    st.sampled_from([r"\ud800", r"\udfff", r"\ude00\ud83d", r"\ud83d\ude00", r"\ud8", r"\u0000"]),
)
NESTED = st.builds(
    lambda opening, depth: b'{"id": "a", "x": ' + opening * depth,
    st.sampled_from([b"[", b'{"x":']),
    st.sampled_from([10, 1_000, 5_000]),
)
BROKEN = st.builds(
    lambda value, at, junk: value[: at % len(value)] + junk, ARTICLES, st.integers(0), st.binary(max_size=4)
)
MESSAGE = st.one_of(
    ARTICLES,
    WRONG_TYPES.map(lambda fields: json.dumps(fields).encode()),
    SURROGATES,
    BROKEN,
    st.binary(max_size=40),
    NESTED,
    st.none(),
)
# Most lie within a short text, some begin before it, end beyond it, or hold nothing.
SPAN = st.tuples(st.integers(-1, 10), st.integers(0, 12)).map(lambda span: (span[0], sum(span)))
FREELY = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def is_set_aside_with_a_reason(value: bytes | None, rejection: Rejection) -> bool:
    """As it came where it fits into a record, and with headers that everybody can read."""
    message = ConsumerMessage(ARTICLES_TOPIC, 0, 7, 0.0, 0, [("a", b"\xff")], b"key", value, None)
    letter = dead_letter(message, rejection)
    size = sum(len(name) + len(content) for name, content in letter.headers) + len(letter.value) + len(b"key")
    reasons = {name: content.decode() for name, content in letter.headers[1:]}
    return bool(
        size < MAX_RECORD_BYTES
        and letter.headers[0] == ("a", b"\xff")
        and reasons["__streams.errors.message"]
        and reasons["__streams.errors.exception"]
        and letter.value in (value, b"")
    )


def becomes(value: bytes | None) -> Article | Skip | Rejection:
    reading = read(value)
    if isinstance(reading, Rejection):
        assert is_set_aside_with_a_reason(value, reading)
    else:
        assert isinstance(reading, Article | Skip)
    return reading


def assert_right(article: Article, event: Event) -> None:
    """As a consumer gets it: JSON that quotes the article at its offsets."""
    published = msgspec.json.decode(event_record(event).value.decode(), type=Event)
    for span in (published.trigger, published.sentence, *published.arguments):
        assert article.body[span.start : span.end] == span.text


@pytest.fixture(scope="module")
def messages() -> list[bytes | None]:
    """Ten thousand and more, all different, the same at each run; and some that are as large as they get."""
    generated: dict[bytes | None, None] = {}

    @settings(FREELY, max_examples=EXAMPLES)
    @given(MESSAGE)
    def generate(message: bytes | None) -> None:
        generated[message] = None

    generate()
    assert len(generated) >= 10_000
    blank = msgspec.json.encode(Article(id="blank"))
    return [
        *generated,
        blank.ljust(MAX_ARTICLE_BYTES),
        blank.ljust(MAX_ARTICLE_BYTES + 1),
        blank.ljust(2 * MAX_RECORD_BYTES),
        b"[" * MAX_ARTICLE_BYTES,
    ]


def test_every_message_is_an_article_or_skipped_or_set_aside_with_a_reason(messages: list[bytes | None]) -> None:
    for message in messages:
        becomes(message)


@pytest.mark.parametrize("fill", [" ", "x", "😀", "\u0301"])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 4, MAX_RECORD_BYTES])
def test_a_message_of_any_size_is_read_up_to_the_limit_and_set_aside_beyond_it(fill: str, beyond: int) -> None:
    frame = b'{"id": "a", "language": "en", "text": "%b"}'
    room = MAX_ARTICLE_BYTES + beyond - len(frame) + 2
    letters = fill * (room // len(fill.encode()))
    value = frame % letters.ljust(len(letters) + room - len(letters.encode())).encode()
    assert len(value) == MAX_ARTICLE_BYTES + beyond
    assert isinstance(becomes(value), Rejection) == (beyond > 0)


@settings(FREELY, max_examples=1_000)
@given(st.builds(Article, id=st.text(min_size=1, max_size=9), text=ODD), st.tuples(SPAN, SPAN, SPAN))
def test_an_event_quotes_its_article_or_is_never_published(
    article: Article, spans: tuple[tuple[int, int], ...]
) -> None:
    trigger, filler, sentence = spans
    mention = Mention(
        type="conflict.attack",
        realis="asserted",
        root="ASSAULT",
        mode=None,
        confidence=0.5,
        trigger_start=trigger[0],
        trigger_end=trigger[1],
        fillers=[Filler(role="actor", start=filler[0], end=filler[1], confidence=0.5)],
        sentence_start=sentence[0],
        sentence_end=sentence[1],
        sentence_index=0,
    )
    possible = all(0 <= start < end <= len(article.body) for start, end in (trigger, filler, sentence))
    try:
        events = assemble(article, Extraction(mentions=[mention], chars_read=len(article.body)), MODEL)
    except SpanError:
        assert not possible
    else:
        assert possible
        assert_right(article, events[0])


def test_ten_thousand_messages_in_every_codec_leave_the_processor_alive_and_all_accounted_for(
    messages: list[bytes | None], tmp_path: Path
) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "kafka", port=free_port()) as broker:
        kafka = broker.bootstrap_servers
        create_topics(kafka, partitions=2)
        for codec in CODECS:
            options = producer_options(kafka) | {"compression_type": codec, "max_request_size": 3 * MAX_RECORD_BYTES}
            with KafkaProducer(**options) as producer:
                sent = [
                    producer.send(ARTICLES_TOPIC, key=str(number).encode(), value=value)
                    for number, value in enumerate(messages)
                    if goes_by(codec, number, value)
                ]
                for confirmation in sent:
                    confirmation.get(PATIENCE_SECONDS)
        running = Running(kafka, "poison", tmp_path / "log", TIDINGS_BATCH_ARTICLES="256")
        wait_until(lambda: running.metric("tidings_articles_total") == len(messages), "every message is done with")
        outcomes = {outcome: running.metric("tidings_articles_total", outcome=outcome) for outcome in OUTCOMES}
        assert running.metric("tidings_extractor_restarts_total") == 0
        assert running.stop() == 0, running.log.read_text()
        letters = dead_letters(kafka)

    readings = {str(number).encode(): read(value) for number, value in enumerate(messages)}
    assert set(letters) == {key for key, reading in readings.items() if isinstance(reading, Rejection)}
    assert all(letters.values()), "each has its reason"
    assert outcomes == {
        "dead_lettered": len(letters),
        "extracted": sum(isinstance(reading, Article) for reading in readings.values()),
        "empty": list(readings.values()).count(Skip.EMPTY),
        "skipped_language": list(readings.values()).count(Skip.LANGUAGE),
    }


def goes_by(codec: str | None, number: int, value: bytes | None) -> bool:
    """By turns; what Kafka takes only when it is compressed goes by gzip."""
    if len(value or b"") > MAX_ARTICLE_BYTES:
        return codec == "gzip"
    return codec == CODECS[number % len(CODECS)]


def dead_letters(kafka: str) -> dict[bytes, str]:
    """By key, why each was set aside."""
    return {
        record.key: dict(record.headers)["__streams.errors.message"].decode()
        for record in stored(kafka, DEAD_LETTER_TOPIC)
    }
