"""The real processor with the shipped model, in a process of its own, against real Kafka."""

import os
import signal
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from services.broker import EmbeddedBroker, free_port
from services.clients.kafka import create_topics, producer_options
from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, EVENTS_TOPIC, MAX_ARTICLE_BYTES
from services.contracts import Article, Event, event_id
from services.contracts.headers import Headers
from services.processor.attempts import MOST_DEATHS

from .conftest import PATIENCE_SECONDS, ReadTopic
from .running import ATTACK, Running, bombings, committed, events_by_article, group_at_the_end, send, wait_until

GERMAN = (
    "Die beiden Regierungen haben am Dienstag nach monatelangen Gesprächen ein Handelsabkommen unterzeichnet, das im "
    "Frühjahr in Kraft treten soll. In der Hauptstadt protestierten Bauern dagegen."
)
# Some seconds of work in batches of four: long enough to be interrupted in the middle.
BACKLOG = 32
BOMBINGS = 24
BACKLOG_TEXT = " ".join([ATTACK] * BOMBINGS)


def send_backlog(kafka: str) -> dict[str, tuple[int, int]]:
    """Publish many articles of the same text; by id, the partition and offset of each."""
    ids = [f"backlog-{uuid.uuid4()}" for _ in range(BACKLOG)]
    with KafkaProducer(**producer_options(kafka)) as producer:
        sent = [
            producer.send(
                ARTICLES_TOPIC, key=key.encode(), value=msgspec.json.encode(Article(id=key, text=BACKLOG_TEXT))
            )
            for key in ids
        ]
        records = [future.get(PATIENCE_SECONDS) for future in sent]
    return {key: (record.partition, record.offset) for key, record in zip(ids, records, strict=True)}


def missing(kafka: str, backlog: Iterable[str]) -> dict[str, set[str]]:
    """By article, the events that it should have and has not."""
    found = events_by_article(kafka)
    lacking = {key: bombings(key, BOMBINGS) - {event.event_id for event in found.get(key, ())} for key in backlog}
    return {key: ids for key, ids in lacking.items() if ids}


# The next four have the topic for themselves: the processor that the tests after them share has not started yet.


def test_a_processor_that_is_killed_in_mid_run_loses_nothing(kafka: str, tmp_path: Path) -> None:
    group = group_at_the_end(kafka)
    backlog = send_backlog(kafka)
    first = Running(kafka, group, tmp_path / "log")
    wait_until(lambda: first.metric("tidings_articles_total", outcome="extracted") >= BACKLOG / 4, "some are done")
    extractor = first.extractor_pid()
    first.kill()
    wait_until(lambda: not Path(f"/proc/{extractor}").exists(), "the extractor is gone, too")
    assert any(offset >= committed(kafka, group)[partition] for partition, offset in backlog.values())

    second = Running(kafka, group, tmp_path / "log")
    ends = {partition: offset + 1 for partition, offset in sorted(backlog.values())}
    wait_until(lambda: ends.items() <= committed(kafka, group).items(), "all are committed")
    assert second.stop() == 0
    assert not missing(kafka, backlog)


def test_a_processor_that_is_told_to_stop_finishes_its_batch_and_commits_it(kafka: str, tmp_path: Path) -> None:
    group = group_at_the_end(kafka)
    backlog = send_backlog(kafka)
    running = Running(kafka, group, tmp_path / "log")
    wait_until(lambda: running.metric("tidings_articles_total", outcome="extracted") >= 4, "a batch is done")
    wait_until(lambda: running.metric("tidings_articles_in_flight") > 0, "a batch is at hand")
    assert running.stop() == 0, running.log.read_text()
    events = events_by_article(kafka)
    offsets = committed(kafka, group)
    done = {key for key, (partition, offset) in backlog.items() if offset < offsets[partition]}
    assert 4 < len(done) < BACKLOG
    # What was published is committed, once; nothing else was published.
    for key in backlog:
        ids = [event.event_id for event in events.get(key, ())]
        assert len(ids) == len(set(ids))
        assert bool(ids) == (key in done)


# A defect that no article can cause: the step after extraction never gives the event loop back.
WEDGED = """
import time
from services.processor import app
from services.settings import Settings
app.assembled = lambda *_: time.sleep(3600)
app.run_processor(Settings())
"""


def test_a_processor_is_ready_once_it_has_joined_and_a_wedged_one_is_not_alive(kafka: str, tmp_path: Path) -> None:
    group = group_at_the_end(kafka)
    running = Running(kafka, group, tmp_path / "log", program=("-c", WEDGED), TIDINGS_STUCK_SECONDS="2")
    wait_until(lambda: running.probe("startup")[0] == 503, "it is starting")
    wait_until(lambda: running.probe("ready") == (200, "ok\n"), "it is ready")
    assert running.probe("startup") == running.probe("live") == (200, "ok\n")
    key = f"wedge-{uuid.uuid4()}"
    send(kafka, key, msgspec.json.encode(Article(id=key, text=ATTACK)))
    wait_until(lambda: running.probe("live")[0] == 503, "it is not alive")
    assert "the event loop has stood still" in running.probe("live")[1]
    # Told to stop, it cannot even hear it: this is what /live is for.
    running.kill()


# No article is known that ends the processor itself; this one would.
FATAL = """
import os
from services.processor import app
from services.settings import Settings
read = app.read
app.read = lambda value: os._exit(9) if b"fatal" in value else read(value)
raise SystemExit(app.run_processor(Settings()))
"""


def test_an_article_that_kills_processors_is_set_aside_in_the_end(
    kafka: str, tmp_path: Path, read_topic: ReadTopic
) -> None:
    group = group_at_the_end(kafka)
    key = f"deadly-{uuid.uuid4()}"
    others = [f"{key}-{number}" for number in range(3)]
    for other in others[:2]:
        send(kafka, key, msgspec.json.encode(Article(id=other, text=ATTACK)))
    send(kafka, key, msgspec.json.encode(Article(id=key, text=f"A fatal text. {ATTACK}")))
    send(kafka, key, msgspec.json.encode(Article(id=others[2], text=ATTACK)))
    ends = 0
    while True:
        running = Running(kafka, group, tmp_path / "log", program=("-c", FATAL))
        wait_until(
            lambda running=running: running.process.poll() is not None or len(events_of(kafka, others)) == 3,
            "it ends or all others are done",
        )
        if running.process.poll() is None:
            break
        assert running.process.returncode == 9
        ends += 1
        assert ends <= MOST_DEATHS + 3  # and once in a batch that begins with each record before it, at most
    (letter,) = read_topic(DEAD_LETTER_TOPIC, key, at_least=1)
    assert dict(letter.headers)["__streams.errors.exception"] == b"ProcessorDied"
    assert running.stop() == 0


def events_of(kafka: str, articles: Iterable[str]) -> set[str]:
    """Those of the articles that have events."""
    return events_by_article(kafka).keys() & set(articles)


def test_a_model_that_does_not_load_is_named(kafka: str, tmp_path: Path) -> None:
    running = Running(kafka, "none", tmp_path / "log", TIDINGS_MODEL_DIR=str(tmp_path / "nowhere"))
    assert running.process.wait(PATIENCE_SECONDS) == 1
    log = running.log.read_text()
    assert "nowhere" in log
    assert "TIDINGS_MODEL_DIR" in log
    assert "Traceback" not in log


def test_missing_topics_are_named(tmp_path: Path) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "kafka", port=free_port()) as bare:
        running = Running(bare.bootstrap_servers, "none", tmp_path / "log")
        assert running.process.wait(PATIENCE_SECONDS) == 1
    log = running.log.read_text()
    assert ARTICLES_TOPIC in log
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def processor(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that most tests share."""
    running = Running(kafka, group_at_the_end(kafka), tmp_path_factory.mktemp("processor") / "log")
    yield running
    assert running.stop() == 0, running.log.read_text()


def test_an_air_strike_becomes_an_attack_event(kafka: str, processor: Running, read_topic: ReadTopic) -> None:
    article = Article(id=f"strike-{uuid.uuid4()}", text=ATTACK, title="Air strikes", url="https://example.org/1")
    send(kafka, "the key need not be the id", msgspec.json.encode(article))
    records = read_topic(EVENTS_TOPIC, article.id, at_least=1)
    events = [msgspec.json.decode(record.value, type=Event) for record in records]
    (attack,) = [event for event in events if event.trigger.text == "bombed"]
    assert attack.type == "conflict.attack"
    assert attack.event_id == event_id(article.id, attack.trigger.start, attack.trigger.end)
    assert attack.sentence.text == ATTACK
    assert attack.article.url == article.url
    assert attack.article.text_sha256 == article.body_sha256
    assert attack.provenance.model_revision
    headers = dict(records[events.index(attack)].headers)
    assert headers["ce_id"].decode() == attack.event_id
    assert headers["ce_type"] == b"news.event.v1"


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_an_article_in_every_codec_is_read(kafka: str, processor: Running, read_topic: ReadTopic, codec: str) -> None:
    key = f"{codec}-{uuid.uuid4()}"
    send(kafka, key, msgspec.json.encode(Article(id=key, text=ATTACK)), compression_type=codec)
    assert read_topic(EVENTS_TOPIC, key, at_least=1)


@pytest.mark.parametrize(
    ("value", "exception", "reason"),
    [
        (b'{"id": "x", "text": "\xff\xfe"}', "UnicodeDecodeError", "can't decode byte 0xff"),
        (b"Warplanes bombed the town.", "DecodeError", "malformed"),
        (b'{"text": "no id"}', "ValidationError", "missing required field `id`"),
    ],
)
def test_a_bad_record_goes_to_the_dead_letters_as_it_came_and_the_stream_goes_on(
    kafka: str, processor: Running, read_topic: ReadTopic, value: bytes, exception: str, reason: str
) -> None:
    key = f"bad-{uuid.uuid4()}"
    original: Headers = [("seen", b"1"), ("seen", b"2"), ("raw", b"\xff\x00"), ("", b""), ("seen", b"1")]
    partition, offset = send(kafka, key, value, original)
    (letter,) = read_topic(DEAD_LETTER_TOPIC, key, at_least=1)
    assert letter.value == value
    assert letter.headers[: len(original)] == original
    context = dict(letter.headers[len(original) :])
    assert context["__streams.errors.topic"].decode() == ARTICLES_TOPIC
    assert context["__streams.errors.partition"].decode() == str(partition)
    assert context["__streams.errors.offset"].decode() == str(offset)
    assert context["__streams.errors.stage"] == b"read"
    assert context["__streams.errors.exception"].decode() == exception
    assert reason in context["__streams.errors.message"].decode()

    send(kafka, key, msgspec.json.encode(Article(id=key, text=ATTACK)))
    assert read_topic(EVENTS_TOPIC, key, at_least=1)


def test_a_record_that_unpacks_to_more_than_kafka_takes_is_set_aside_without_its_value(
    kafka: str, processor: Running, read_topic: ReadTopic
) -> None:
    key = f"bomb-{uuid.uuid4()}"
    value = msgspec.json.encode(Article(id=key, text=" " * 2 * MAX_ARTICLE_BYTES))
    send(kafka, key, value, compression_type="gzip", max_request_size=2 * len(value))
    (letter,) = read_topic(DEAD_LETTER_TOPIC, key, at_least=1)
    assert letter.value == b""
    assert (
        f"the value is left out here: {len(value)} bytes" in dict(letter.headers)["__streams.errors.message"].decode()
    )


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        ("skipped_language", msgspec.json.encode(Article(id="undeclared", text=GERMAN))),
        ("skipped_language", msgspec.json.encode(Article(id="declared", text=ATTACK, language="de"))),
        ("empty", msgspec.json.encode(Article(id="empty"))),
        ("empty", None),
    ],
)
def test_an_article_that_is_empty_or_not_in_english_has_no_events_and_is_counted(
    kafka: str, processor: Running, read_topic: ReadTopic, outcome: str, value: bytes | None
) -> None:
    before = processor.metric("tidings_articles_total", outcome=outcome)
    key = f"nothing-{uuid.uuid4()}"
    send(kafka, key, value)
    wait_until(lambda: processor.metric("tidings_articles_total", outcome=outcome) > before, f"{outcome} is counted")
    assert not read_topic(DEAD_LETTER_TOPIC, key)


def test_an_article_of_three_hundred_pages_is_read_to_its_end(
    kafka: str, processor: Running, read_topic: ReadTopic
) -> None:
    page = " ".join(["The committee is about the size that it was, and so is the room."] * 28)  # 1,800 characters
    key = f"book-{uuid.uuid4()}"
    article = Article(id=key, text="\n\n".join([page] * 300 + [ATTACK]))
    send(kafka, key, msgspec.json.encode(article))
    events = [msgspec.json.decode(record.value, type=Event) for record in read_topic(EVENTS_TOPIC, key, at_least=1)]
    assert any(event.trigger.text == "bombed" and event.sentence.text == ATTACK for event in events)
    coverage = events[0].provenance.coverage
    assert coverage.chars_read == coverage.chars_total == len(article.text)


@pytest.mark.parametrize(
    "around",
    [
        "😀🏴󠁧󠁢󠁥󠁮󠁧󠁿 ",
        "\r\n\r\n\t",
        "\x00\x01 ",
        "قصفت الطائرات البلدة. ",
        "e\u0301a\u0308 \u202eright to left\u202c ",
        "\ufeff\u200b\u2028 ",
        "𝔚𝔞𝔯. ",
    ],
)
def test_offsets_count_code_points_whatever_surrounds_the_event(
    kafka: str, processor: Running, read_topic: ReadTopic, around: str
) -> None:
    article = Article(id=f"unicode-{uuid.uuid4()}", text=f"{around}{ATTACK} {around}{ATTACK}{around}", language="en")
    send(kafka, article.id, msgspec.json.encode(article))
    events = [
        msgspec.json.decode(record.value, type=Event) for record in read_topic(EVENTS_TOPIC, article.id, at_least=2)
    ]
    for event in events:
        for span in (event.trigger, event.sentence, *event.arguments):
            assert article.text[span.start : span.end] == span.text
    assert len({event.trigger.start for event in events if event.trigger.text == "bombed"}) == 2


def test_an_extractor_that_is_killed_in_mid_batch_is_replaced_and_nothing_is_lost(
    kafka: str, processor: Running
) -> None:
    restarts = processor.metric("tidings_extractor_restarts_total")
    backlog = send_backlog(kafka)
    wait_until(lambda: processor.metric("tidings_articles_in_flight") > 0, "a batch is at hand")
    os.kill(processor.extractor_pid(), signal.SIGKILL)
    wait_until(lambda: not missing(kafka, backlog), "every article has its events")
    assert processor.metric("tidings_extractor_restarts_total") == restarts + 1
    assert processor.metric("tidings_dead_letters_total", stage="extract") == 0


def test_a_metrics_port_that_is_taken_is_named_with_its_setting(kafka: str, processor: Running, tmp_path: Path) -> None:
    wait_until(lambda: processor.probe("live")[0] == 200, "the port is taken")
    running = Running(kafka, "none", tmp_path / "log", TIDINGS_METRICS_PORT=str(processor.metrics_port))
    assert running.process.wait(PATIENCE_SECONDS) == 1
    log = running.log.read_text()
    assert "TIDINGS_METRICS_PORT" in log
    assert "Traceback" not in log


def test_a_standby_without_partitions_is_ready(tmp_path: Path) -> None:
    with EmbeddedBroker(data_dir=tmp_path / "kafka", port=free_port()) as broker:
        create_topics(broker.bootstrap_servers, partitions=1)
        both = [Running(broker.bootstrap_servers, "group", tmp_path / f"log{number}") for number in range(2)]
        wait_until(lambda: all(running.probe("ready")[0] == 200 for running in both), "both are ready")
        assert [running.stop() for running in both] == [0, 0]


def test_without_kafka_a_processor_is_alive_and_past_its_deadline_ends_without_acknowledging(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    with EmbeddedBroker(data_dir=tmp_path / "kafka", port=port) as broker:
        create_topics(broker.bootstrap_servers, partitions=1)
        running = Running(
            broker.bootstrap_servers, "group", log, TIDINGS_DRAIN_SECONDS="5", TIDINGS_BATCH_WAIT_SECONDS="0.01"
        )
        send_backlog(broker.bootstrap_servers)
        wait_until(lambda: running.metric("tidings_articles_in_flight") > 0, "a batch is at hand")
    wait_until(lambda: running.metric("tidings_waiting_for_kafka") == 1, "it waits for Kafka")
    assert running.probe("live") == (200, "ok\n")
    running.process.terminate()
    wait_until(lambda: running.probe("ready")[0] != 200, "it is no longer ready")
    assert running.process.wait(PATIENCE_SECONDS) == 1
    assert log.read_text().count("they are sent again until it does") == 1
    with EmbeddedBroker(data_dir=tmp_path / "kafka", port=port) as broker:
        unread = committed(broker.bootstrap_servers, "group")[0]
        assert unread < BACKLOG
        second = Running(broker.bootstrap_servers, "group", log)
        wait_until(lambda: committed(broker.bootstrap_servers, "group")[0] == BACKLOG, "all are committed")
        assert second.stop() == 0
        found = events_by_article(broker.bootstrap_servers)
        assert len(found) == BACKLOG
