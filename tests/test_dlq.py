"""Dead letters as a person works with them. The topic is shared: each test has letters with a reason of their own."""

import json
import os
import random
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from services.clients.kafka import producer_options
from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, MAX_ARTICLE_BYTES
from services.console.reading import bounds, reader, records
from services.contracts.headers import Headers, dead_letter_headers

from .conftest import PATIENCE_SECONDS, ReadTopic
from .running import Running, group_at_the_end, send
from .test_cli import COMMAND, error_of, tidings

OWN: Headers = [("seen", b"1"), ("seen", b"2"), ("raw", b"\xff\x00"), ("", b""), ("seen", b"1")]
BYTES = b'{"id": "x", "text": "\xff\xfe"}'


def set_aside(
    kafka: str,
    reason: str,
    *,
    key: bytes | None = b"k",
    value: bytes = BYTES,
    partition: int = 0,
    origin: tuple[int, int] = (0, 0),
    topic: str = ARTICLES_TOPIC,
    stage: str = "read",
    **context: Any,
) -> str:
    """Publish a dead letter, as the processor does; its id."""
    headers = OWN + dead_letter_headers(
        topic=topic,
        partition=origin[0],
        offset=origin[1],
        stage=stage,
        exception="DecodeError",
        message=reason,
        **{"attempt": 1} | context,
    )
    with KafkaProducer(**producer_options(kafka)) as producer:
        sent = producer.send(DEAD_LETTER_TOPIC, key=key, value=value, headers=headers, partition=partition)
        record = sent.get(PATIENCE_SECONDS)
    return f"{record.partition}:{record.offset}"


Dlq = Callable[..., subprocess.CompletedProcess[str]]
Articles = Callable[[bytes], list[ConsumerRecord]]


@pytest.fixture
def dlq(kafka: str) -> Dlq:
    """A function that runs `tidings dlq ARGUMENTS`."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return tidings("dlq", *arguments, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka)

    return run


@pytest.fixture
def articles(kafka: str) -> Articles:
    """A function that reads the articles topic for the records with this value."""

    def read(value: bytes) -> list[ConsumerRecord]:
        with reader(kafka) as consumer:
            return [record for record in records(consumer, bounds(consumer, ARTICLES_TOPIC)) if record.value == value]

    return read


@pytest.fixture
def reason() -> str:
    """Of one test's letters only."""
    return f"reason-{uuid.uuid4()}"


def listed(dlq: Dlq, *arguments: str) -> list[dict[str, Any]]:
    done = dlq("ls", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(dlq: Dlq, *arguments: str) -> list[str]:
    return [letter["id"] for letter in listed(dlq, *arguments)]


# Seen.


def test_letters_are_listed_newest_last_with_all_that_says_why(kafka: str, dlq: Dlq, reason: str) -> None:
    first = set_aside(kafka, reason, key=b"one", partition=3, origin=(2, 17), attempt=3)
    second = set_aside(kafka, reason, key=None, partition=1, stage="extract")
    third = set_aside(kafka, reason, key=b"\xff", partition=2)
    letters = listed(dlq, "--reason", reason)
    assert [letter["id"] for letter in letters] == [first, second, third]
    assert [letter["key"] for letter in letters] == ["one", None, "\\xff"]
    assert letters[0] | {"time": ""} == {
        "id": first,
        "time": "",
        "key": "one",
        "stage": "read",
        "exception": "DecodeError",
        "message": reason,
        "attempt": 3,
        "origin": {"topic": ARTICLES_TOPIC, "partition": 2, "offset": 17},
        "left_out_bytes": None,
        "done": None,
    }
    header, *rows = dlq("ls", "--reason", reason.upper()).stdout.splitlines()
    assert header.split() == ["id", "UTC", "key", "stage", "attempt", "origin", "why"]
    assert [row.split()[0] for row in rows] == [first, second, third]
    assert f"{ARTICLES_TOPIC}:2:17" in rows[0]


def test_filters_are_of_stage_and_of_time(kafka: str, dlq: Dlq, reason: str) -> None:
    read = set_aside(kafka, reason)
    extract = set_aside(kafka, reason, stage="extract", partition=1)
    time = listed(dlq, "--reason", reason, "--stage", "extract")[0]["time"]
    assert ids(dlq, "--reason", reason, "--stage", "extract") == [extract]
    assert ids(dlq, "--reason", reason, "--since", "1h") == [read, extract]
    assert ids(dlq, "--reason", reason, "--since", time) == [extract]
    assert ids(dlq, "--reason", reason, "--until", time) == [read]
    assert ids(dlq, "--reason", reason, "--until", "1h") == []
    assert dlq("ls", "--stage", "nowhere").returncode == 2


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_time_that_is_none_is_said_with_what_is_one(dlq: Dlq, option: str) -> None:
    sentence = error_of(dlq("ls", option, "yesterday"))
    assert "'yesterday'" in sentence
    assert "ISO 8601" in sentence
    assert "2h" in sentence


def test_one_letter_is_shown_with_its_headers_and_its_value(kafka: str, dlq: Dlq, reason: str) -> None:
    letter = set_aside(kafka, reason, value="{\n\x1b[2J é}".encode())
    shown = json.loads(dlq("show", letter, "--json").stdout)
    assert shown["message"] == reason
    assert shown["value"] == "{\n\x1b[2J é}"
    assert shown["headers"] == [["seen", "1"], ["seen", "2"], ["raw", "\\xff\x00"], ["", ""], ["seen", "1"]]
    screen = dlq("show", letter).stdout
    assert "{\n\\x1b[2J é}\n" in screen
    assert "\x1b" not in screen
    assert screen.count("seen: ") == 3
    assert reason in screen


def test_the_raw_value_is_written_byte_for_byte(kafka: str, reason: str) -> None:
    letter = set_aside(kafka, reason)
    command = [*COMMAND, "dlq", "show", letter, "--raw"]
    environment = os.environ | {"TIDINGS_KAFKA_BOOTSTRAP_SERVERS": kafka}
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == BYTES


@pytest.mark.parametrize("command", ["show", "retry", "drop"])
@pytest.mark.parametrize(
    ("letter", "remedy"), [("0:999999", "There is no letter 0:999999"), ("x", "like 2:17"), ("-1:0", "like 2:17")]
)
def test_an_id_of_no_letter_is_said(dlq: Dlq, command: str, letter: str, remedy: str) -> None:
    assert remedy in error_of(dlq(command, "--", letter))


# Done with.


@pytest.mark.parametrize("key", [b"\xffkey", None])
def test_a_retried_letter_is_published_as_it_came_where_it_came_from(
    kafka: str, dlq: Dlq, articles: Articles, reason: str, key: bytes | None
) -> None:
    value = BYTES + reason.encode()
    letter = set_aside(kafka, reason, key=key, value=value, origin=(2, 5), attempt=4)
    done = dlq("retry", letter)
    assert json.loads(done.stdout) == {"retried": 1, "dropped": 0, "refused": 0}
    (record,) = articles(value)
    assert record.key == key
    assert record.headers == [*OWN, ("__streams.errors.attempt", b"4")]
    assert record.partition == 2


def test_letters_that_were_retried_or_dropped_are_listed_only_on_demand(kafka: str, dlq: Dlq, reason: str) -> None:
    first, second, third = (set_aside(kafka, reason, partition=partition) for partition in (0, 0, 1))
    assert dlq("retry", first).returncode == 0
    assert json.loads(dlq("drop", second).stdout)["dropped"] == 1
    assert ids(dlq, "--reason", reason) == [third]
    done = {letter["id"]: letter["done"] for letter in listed(dlq, "--reason", reason, "--all")}
    assert done == {first: "retry", second: "drop", third: None}
    (row,) = [line for line in dlq("ls", "--all", "--reason", reason).stdout.splitlines() if second in line.split()]
    assert "(dropped)" in row


def test_filters_choose_open_letters_only_and_a_name_any(kafka: str, dlq: Dlq, reason: str) -> None:
    first, second = set_aside(kafka, reason), set_aside(kafka, reason)
    dlq("drop", first)
    assert json.loads(dlq("retry", "--reason", reason).stdout)["retried"] == 1
    assert json.loads(dlq("retry", "--reason", reason).stdout)["retried"] == 0
    assert json.loads(dlq("retry", first, second).stdout)["retried"] == 2


@pytest.mark.parametrize("command", ["retry", "drop"])
@pytest.mark.parametrize("arguments", [[], ["0:0", "--reason", "x"], ["--all-letters", "--since", "1h"]], ids=str)
def test_without_a_word_on_which_letters_nothing_is_done(
    kafka: str, dlq: Dlq, reason: str, command: str, arguments: list[str]
) -> None:
    letter = set_aside(kafka, reason)
    assert "--all-letters" in error_of(dlq(command, *arguments))
    assert ids(dlq, "--reason", reason) == [letter]


def test_a_letter_that_kafka_does_not_take_stays_open_and_the_others_are_retried(
    kafka: str, dlq: Dlq, reason: str
) -> None:
    too_large = set_aside(kafka, reason, value=random.Random(0).randbytes(MAX_ARTICLE_BYTES + 512 * 1024))
    unknown = set_aside(kafka, reason, topic="nowhere")
    good = [set_aside(kafka, reason, partition=partition) for partition in (0, 1)]
    done = dlq("retry", "--reason", reason)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"retried": 2, "dropped": 0, "refused": 2}
    for letter in (too_large, unknown):
        assert f"letter {letter} is not published again" in done.stderr
    assert set(ids(dlq, "--reason", reason)) == {too_large, unknown}
    assert set(ids(dlq, "--reason", reason, "--all")) == {too_large, unknown, *good}


def test_a_value_that_was_left_out_is_fetched_from_its_origin(
    kafka: str, dlq: Dlq, articles: Articles, reason: str
) -> None:
    value = reason.encode() + b" " * 2 * MAX_ARTICLE_BYTES
    origin = send(kafka, "large", value, compression_type="gzip", max_request_size=2 * len(value))
    letter = set_aside(kafka, reason, value=b"", origin=origin, left_out_bytes=len(value))
    assert json.loads(dlq("show", letter, "--json").stdout)["value"] == value.decode()
    assert json.loads(dlq("retry", letter).stdout)["retried"] == 1
    assert len(articles(value)) == 2


def test_a_value_that_was_left_out_and_is_gone_is_said(kafka: str, dlq: Dlq, reason: str) -> None:
    letter = set_aside(kafka, reason, value=b"", origin=(1, 10**12), left_out_bytes=6_000_000)
    done = dlq("retry", letter)
    assert done.returncode == 1
    assert f"{ARTICLES_TOPIC}:1:{10**12} does not have it any more" in done.stderr
    assert "does not have it any more" in error_of(dlq("show", letter, "--raw"))
    assert ids(dlq, "--reason", reason) == [letter]


# With the processor.


def test_a_retried_letter_that_fails_again_counts_on_and_has_one_context(
    kafka: str, dlq: Dlq, read_topic: ReadTopic, tmp_path: Path
) -> None:
    running = Running(kafka, group_at_the_end(kafka), tmp_path / "log")
    key = f"again-{uuid.uuid4()}"
    send(kafka, key, BYTES, OWN)
    for attempt in (1, 2, 3):
        letter = read_topic(DEAD_LETTER_TOPIC, key, at_least=attempt)[-1]
        assert letter.value == BYTES
        assert letter.headers[: len(OWN)] == OWN
        names = [name for name, _ in letter.headers[len(OWN) :]]
        assert len(names) == len(set(names)) == 7
        context = dict(letter.headers[len(OWN) :])
        assert context["__streams.errors.attempt"] == str(attempt).encode()
        came = read_topic(ARTICLES_TOPIC, key, at_least=attempt)[-1]
        assert context["__streams.errors.offset"] == str(came.offset).encode()
        (shown,) = [entry for entry in listed(dlq) if entry["key"] == key]
        assert shown["attempt"] == attempt
        assert dlq("retry", shown["id"]).returncode == 0
    assert running.stop() == 0, running.log.read_text()
