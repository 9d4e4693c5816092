"""Sources to articles, and articles to Kafka."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from kafka import KafkaAdminClient

from services.broker import EmbeddedBroker, free_port
from services.clients import kafka as clients
from services.clients.topics import ARTICLES_TOPIC, MAX_ARTICLE_BYTES
from services.contracts import Article
from services.producer import NotConfirmedError, Refusal, produce, read_articles
from services.producer.publish import publish, published_articles

from .conftest import PATIENCE_SECONDS, ReadTopic

FULL = """---
id: a-1
title: "Accord: signed"
publisher: Gulf Wire
published_at: 2020-07-10T09:00:00+02:00
url: https://example.org/a-1
language: en
unknown: ignored
---

Iran signed.

It did.
"""


def read_one(path: Path, content: str | bytes) -> Article | Refusal:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    (item,) = read_articles([path])
    return item


def refusal(path: Path, content: str | bytes) -> str:
    item = read_one(path, content)
    assert isinstance(item, Refusal)
    assert item.source == str(path)
    return item.reason


# Sources


def test_a_text_file_with_front_matter_is_an_article(tmp_path: Path) -> None:
    assert read_one(tmp_path / "001.txt", FULL) == Article(
        id="a-1",
        title="Accord: signed",
        publisher="Gulf Wire",
        published_at=datetime(2020, 7, 10, 7, tzinfo=UTC),
        url="https://example.org/a-1",
        language="en",
        text="Iran signed.\n\nIt did.",
    )


def test_a_text_file_without_front_matter_is_an_article_named_after_the_file(tmp_path: Path) -> None:
    assert read_one(tmp_path / "pact.txt", "Iran signed.\n---\nSyria, too.\n") == Article(
        id="pact", text="Iran signed.\n---\nSyria, too."
    )


def test_a_field_that_is_left_empty_is_absent(tmp_path: Path) -> None:
    assert read_one(tmp_path / "pact.txt", "---\nid:\ntitle:\nurl:\n---\nText") == Article(id="pact", text="Text")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2020-07-10", datetime(2020, 7, 10, tzinfo=UTC)),
        ("2020-07-10 09:00:00", datetime(2020, 7, 10, 9, tzinfo=UTC)),
        ("2020-07-10T09:00:00Z", datetime(2020, 7, 10, 9, tzinfo=UTC)),
        ("2020-07-10T09:00:00+02:00", datetime(2020, 7, 10, 7, tzinfo=UTC)),
        ("'2020-07-10'", datetime(2020, 7, 10, tzinfo=UTC)),
        ("'2020-07-10T09:00:00'", datetime(2020, 7, 10, 9, tzinfo=UTC)),
        ("'2020-07-10T09:00:00-05:00'", datetime(2020, 7, 10, 14, tzinfo=UTC)),
    ],
)
def test_a_date_in_front_matter_without_a_zone_is_in_utc(tmp_path: Path, written: str, meant: datetime) -> None:
    article = read_one(tmp_path / "a.txt", f"---\npublished_at: {written}\n---\nText")
    assert isinstance(article, Article)
    assert article.published_at == meant


def test_line_ends_and_all_characters_stay_as_they_are(tmp_path: Path) -> None:
    text = "One\r\ntwo\rthree\n\x00 😀 مرحبا \u2028 e\u0301"
    content = "\ufeff---\r\nid: crlf\r\n---\r\n\r\n" + text + "\r\n"
    assert read_one(tmp_path / "a.txt", content) == Article(id="crlf", text=text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Caf\xe9", "can't decode byte 0xe9"),
        ("---\nid: a\nText", "does not end with one"),
        ("---\njust words\n---\nText", "not a list of `name: value` lines"),
        ("---\ntitle: [a\n---\nText", "while parsing"),
        ("---\nid: 7\n---\nText", "Expected `str`, got `int` - at `$.id`"),
        ("---\npublished_at: yesterday\n---\nText", "yesterday"),
        ("---\npublished_at: 2020-13-45\n---\nText", "month must be in 1..12"),
        ('---\ntitle: "\\ud800"\n---\nText', "invalid Unicode character"),
    ],
)
def test_a_text_file_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path / "a.txt", content)


def test_each_line_of_a_json_lines_file_is_an_article_or_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    lines = [
        b'\xef\xbb\xbf{"id": "1", "text": "a\\r\\nb", "section": "ignored"}\r',
        b"",
        b'{"id": "2"',
        b'{"text": "no id"}',
        b'{"id": "5", "text": "\xff"}',
        b'{"id": "6", "published_at": "2020-07-10T09:00:00"}',
        b'{"id": "7", "x": ' + b"[" * 100_000,
        b'{"id": "8", "published_at": "2020-07-10T09:00:00Z"}',
    ]
    path.write_bytes(b"\n".join(lines))
    items = list(read_articles([path]))
    assert items[0] == Article(id="1", text="a\r\nb")
    assert items[-1] == Article(id="8", published_at=datetime(2020, 7, 10, 9, tzinfo=UTC))
    refused = [item for item in items if isinstance(item, Refusal)]
    assert [item.line for item in refused] == [3, 4, 5, 6, 7]
    assert str(refused[1]) == f"{path}, line 4: Object missing required field `id`"


def test_a_folder_is_its_own_articles_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "c.jsonl", "a.txt", "README.md", "golden/a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"id": "c"}\n' if name == "c.jsonl" else "Text")
    assert [item.id for item in read_articles([tmp_path]) if isinstance(item, Article)] == ["a", "b", "c"]


def test_a_source_that_holds_nothing_is_refused_and_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("Text")
    missing, empty, article = read_articles([tmp_path / "missing.txt", tmp_path / "empty", tmp_path / "a.txt"])
    assert str(missing) == f"{tmp_path / 'missing.txt'}: cannot be read: No such file or directory"
    assert str(empty) == f"{tmp_path / 'empty'}: holds no .txt, .json or .jsonl file"
    assert article == Article(id="a", text="Text")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"id": "a"}\nnonsense\n')))
    article, refused = read_articles(["-"])
    assert article == Article(id="a")
    assert str(refused).startswith("standard input, line 2: ")


def test_an_article_at_the_limit_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    room = MAX_ARTICLE_BYTES - len(msgspec.json.encode(Article(id="a")))
    assert isinstance(read_one(tmp_path / "a.txt", "x" * room), Article)
    reason = refusal(tmp_path / "a.txt", "x" * (room + 1))
    assert f"{MAX_ARTICLE_BYTES + 1} bytes as JSON, the limit is {MAX_ARTICLE_BYTES}" in reason


# Kafka


def test_a_record_is_the_article_under_its_id_with_cloud_event_headers(kafka: str, read_topic: ReadTopic) -> None:
    article = Article(id="record-é", text="Text", published_at=datetime(1999, 1, 1, tzinfo=UTC))
    before = time.time() * 1000
    publish([article], bootstrap_servers=kafka, known={})
    (record,) = read_topic(ARTICLES_TOPIC, "record-é")
    assert record.value == msgspec.json.encode(article)
    headers = dict(record.headers)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"news.article.v1"
    assert headers["ce_source"] == b"tidings/producer"
    assert headers["content-type"] == b"application/json"
    # The record's time is when it came in, or retention would delete old articles at once.
    assert record.timestamp >= before - 1000


def test_the_receipt_counts_and_says_how_far_each_partition_goes(
    kafka: str, read_topic: ReadTopic, tmp_path: Path
) -> None:
    ids = [f"receipt-{number}" for number in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": name, "text": "x"}) + "\n" for name in [*ids, ""]))
    receipt = produce([tmp_path], bootstrap_servers=kafka, changed_only=False)
    ends: dict[int, int] = {}
    for record in (read_topic(ARTICLES_TOPIC, name)[-1] for name in ids):
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
    assert (receipt.published, receipt.unchanged, receipt.refused) == (20, 0, 1)
    assert receipt.end_offsets == ends
    assert json.loads(msgspec.json.encode(receipt))["end_offsets"] == {str(key): end for key, end in ends.items()}


def test_only_what_changed_is_published_again(kafka: str, read_topic: ReadTopic, tmp_path: Path) -> None:
    for name in ("same", "other"):
        (tmp_path / f"changed-{name}.txt").write_text("first")
    first = produce([tmp_path], bootstrap_servers=kafka, changed_only=True)
    again = produce([tmp_path], bootstrap_servers=kafka, changed_only=True)
    (tmp_path / "changed-other.txt").write_text("second")
    third = produce([tmp_path], bootstrap_servers=kafka, changed_only=True)
    assert (first.published, first.unchanged) == (2, 0)
    assert (again.published, again.unchanged) == (0, 2)
    assert again.end_offsets == first.end_offsets
    assert (third.published, third.unchanged) == (1, 1)
    texts = [json.loads(record.value)["text"] for record in read_topic(ARTICLES_TOPIC, "changed-other")]
    assert texts == ["first", "second"]


def test_an_article_that_goes_back_to_an_earlier_version_has_changed(kafka: str, read_topic: ReadTopic) -> None:
    versions = [Article(id="back", text=text) for text in ("first", "second")]
    publish(versions, bootstrap_servers=kafka, known={})
    receipt = publish(versions[:1], bootstrap_servers=kafka, known=published_articles(kafka))
    assert (receipt.published, receipt.unchanged) == (1, 0)
    texts = [json.loads(record.value)["text"] for record in read_topic(ARTICLES_TOPIC, "back")]
    assert texts == ["first", "second", "first"]


def test_what_a_topic_with_a_lower_limit_does_not_take_is_reported(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with KafkaAdminClient(**clients.client_options(kafka)) as admin:
        topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
        admin.create_topics({"test.small": topic}, wait_for_metadata=True)
    monkeypatch.setattr("services.producer.publish.ARTICLES_TOPIC", "test.small")
    incompressible = "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))
    articles = [Article(id="1", text="x"), Article(id="2", text=incompressible), Article(id="3", text="x")]
    with pytest.raises(NotConfirmedError, match=r"from 2 .*MessageSizeTooLargeError"):
        publish(articles, bootstrap_servers=kafka, known={})


def test_what_a_lost_kafka_did_not_confirm_is_reported(tmp_path: Path) -> None:
    program = (
        "import sys; from services.clients import kafka; from services.producer import produce\n"
        "kafka._REQUEST_MS, kafka._DELIVERY_MS = 1000, 3000  # a person waits longer than a test\n"
        "produce(['-'], bootstrap_servers=sys.argv[1], changed_only=False)"
    )
    with EmbeddedBroker(data_dir=tmp_path, port=free_port()) as broker:
        address = broker.bootstrap_servers
        clients.create_topics(address, partitions=1)
        command = [sys.executable, "-c", program, address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as producer:
            assert producer.stdin
            producer.stdin.write('{"id": "before"}\n')
            producer.stdin.flush()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not published_articles(address) and time.monotonic() < deadline:
                time.sleep(0.1)
            os.kill(broker.pid, signal.SIGKILL)
            _, errors = producer.communicate('{"id": "after-1"}\n{"id": "after-2"}\n', timeout=PATIENCE_SECONDS)
    assert producer.returncode == 1
    assert "NotConfirmedError: Kafka did not confirm 2 articles, from after-1 to after-2" in errors
    assert "it confirmed 1." in errors
