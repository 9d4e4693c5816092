"""Articles extracted again with the shipped model, against real Kafka. Each test has a window of its own articles."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.clients.topics import EVENTS_TOPIC, SHADOW_EVENTS_TOPIC
from services.console.differences import CONFIDENCE_TOLERANCE, Change, differences
from services.contracts import Article, Event, Plover

from .conftest import ReadTopic
from .running import ATTACK, send
from .test_cli import error_of, tidings
from .test_console import make_event, publish
from .test_processor import GERMAN

replaced = msgspec.structs.replace


class Window:
    """The time between its making and its end."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._start = self._now()
        self._end = ""

    @staticmethod
    def _now() -> str:
        time.sleep(0.002)  # Kafka counts milliseconds
        return datetime.now(UTC).isoformat()

    def end(self) -> None:
        self._end = self._now()

    def replay(self, *arguments: str) -> str:
        command = ("replay", "--from", self._start, "--to", self._end, *arguments)
        done = tidings(*command, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=self._kafka)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def findings(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The findings, and the summary."""
        *found, last = map(json.loads, self.replay("--json").splitlines())
        return found, last["summary"]


def counts(summary: dict[str, Any]) -> dict[str, int]:
    """Those that are not 0."""
    return {name: value for name, value in summary.items() if value and not name.startswith("model")}


def test_events_that_are_new_go_to_the_shadow_topic_and_nowhere_else(kafka: str, read_topic: ReadTopic) -> None:
    article = Article(id=f"replay-{uuid.uuid4()}", text=ATTACK)
    before = replaced(article, id=f"replay-{uuid.uuid4()}")
    send(kafka, before.id, msgspec.json.encode(before))
    window = Window(kafka)
    send(kafka, "the key need not be the id", msgspec.json.encode(replaced(article, text=f"Once. {ATTACK}")))
    send(kafka, "the key need not be the id", msgspec.json.encode(article))
    window.end()
    send(kafka, before.id, msgspec.json.encode(before))

    found, summary = window.findings()
    shadow = [msgspec.json.decode(record.value, type=Event) for record in read_topic(SHADOW_EVENTS_TOPIC, article.id)]
    assert "bombed" in {event.trigger.text for event in shadow}
    assert {event.article.text_sha256 for event in shadow} == {article.body_sha256}  # the latest version, once
    assert counts(summary) == {"articles": 1, "new": len(shadow)}
    assert summary["model_revision"] == shadow[0].provenance.model_revision
    assert [finding["change"] for finding in found] == ["new"] * len(shadow)
    assert [msgspec.convert(finding["after"], Event) for finding in found] == shadow
    assert not read_topic(SHADOW_EVENTS_TOPIC, before.id)
    assert not read_topic(EVENTS_TOPIC, article.id)


def test_events_are_compared_with_the_latest_that_were_published(kafka: str, read_topic: ReadTopic) -> None:
    article = Article(id=f"replay-{uuid.uuid4()}", text=ATTACK)
    window = Window(kafka)
    send(kafka, article.id, msgspec.json.encode(article))
    window.end()
    _, first = window.findings()
    now, *others = [
        msgspec.json.decode(record.value, type=Event)
        for record in read_topic(SHADOW_EVENTS_TOPIC, article.id, at_least=2)
    ]
    repeated = replaced(
        now,
        confidence=now.confidence - CONFIDENCE_TOLERANCE / 2,
        provenance=replaced(now.provenance, model="another", extracted_at=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    lost = replaced(now, event_id=str(uuid.uuid4()))
    of_another_text = replaced(lost, event_id=str(uuid.uuid4()), article=replaced(now.article, text_sha256="0" * 64))
    otherwise = replaced(others[0], realis="alleged", arguments=[])
    stale = replaced(now, type="life.die")  # not the latest
    publish(kafka, *map(msgspec.json.encode, (stale, repeated, lost, of_another_text, otherwise)))

    found, summary = window.findings()
    assert counts(summary) == {
        name: count
        for name, count in {"articles": 1, "gone": 1, "changed": 1, "unchanged": 1, "new": first["new"] - 2}.items()
        if count
    }
    by_event = {finding["event_id"]: finding for finding in found}
    assert now.event_id not in by_event
    assert of_another_text.event_id not in by_event
    assert by_event[lost.event_id]["change"] == "gone"
    assert msgspec.convert(by_event[lost.event_id]["before"], Event) == lost
    assert by_event[otherwise.event_id]["change"] == "changed"
    assert by_event[otherwise.event_id]["fields"] == ["realis", "arguments"]
    screen = window.replay()
    assert f"realis: alleged → {others[0].realis}" in screen
    assert "1 gone, 1 changed, 1 unchanged" in screen.splitlines()[-1]


def test_what_is_no_article_is_listed_and_what_has_no_events_is_counted(kafka: str) -> None:
    window = Window(kafka)
    partition, offset = send(kafka, "bad", b'{"id": 7}')
    send(kafka, "german", msgspec.json.encode(Article(id=f"replay-{uuid.uuid4()}", text=GERMAN)))
    send(kafka, "gone", None)
    window.end()
    found, summary = window.findings()
    assert counts(summary) == {"skipped": 2, "rejected": 1}
    (rejected,) = (finding["rejected"] for finding in found)
    assert (rejected["partition"], rejected["offset"], rejected["stage"]) == (partition, offset, "read")
    assert "Expected `str`" in rejected["message"]
    assert f"partition {partition}, offset {offset}" in window.replay()


def test_a_time_without_articles_has_no_findings(kafka: str) -> None:
    done = tidings(
        "replay", "--from", "1969-01-01", "--to", "1970-01-02", "--json", TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka
    )
    assert counts(json.loads(done.stdout)["summary"]) == {}


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [("soon", "1h", "'soon' is no time"), ("2h", "2026-13-01", "ISO 8601"), ("1h", "2h", "is not before")],
)
def test_times_that_are_none_or_in_the_wrong_order_are_said(kafka: str, since: str, until: str, said: str) -> None:
    assert said in error_of(tidings("replay", "--from", since, "--to", until, TIDINGS_KAFKA_BOOTSTRAP_SERVERS=kafka))


@pytest.mark.parametrize(
    ("revise", "fields"),
    [
        (lambda event: replaced(event, confidence=event.confidence - CONFIDENCE_TOLERANCE / 2), []),
        (lambda event: replaced(event, confidence=event.confidence - 2 * CONFIDENCE_TOLERANCE), ["confidence"]),
        (lambda event: replaced(event, type="life.die", realis="future"), ["type", "realis"]),
        (lambda event: replaced(event, plover=Plover(root="AID", mode=None, quad_class=2, intensity=5.0)), ["plover"]),
        (lambda event: replaced(event, plover=None), ["plover"]),
        (lambda event: replaced(event, arguments=event.arguments[:1]), ["arguments"]),
        (lambda event: replaced(event, arguments=[replaced(event.arguments[0], role="object")]), ["arguments"]),
        (
            lambda event: replaced(
                event, arguments=[replaced(entry, confidence=1 - CONFIDENCE_TOLERANCE / 2) for entry in event.arguments]
            ),
            [],
        ),
        (
            lambda event: replaced(event, arguments=[replaced(e, confidence=0.5) for e in event.arguments]),
            ["arguments"],
        ),
        (lambda event: replaced(event, provenance=replaced(event.provenance, model="another")), []),
    ],
)
def test_an_event_is_changed_in_what_a_reader_would_notice(revise: Callable[[Event], Event], fields: list[str]) -> None:
    event = make_event()
    (difference,) = differences({event.event_id: event}, [revise(event)])
    assert difference.fields == fields
    assert difference.change is (Change.CHANGED if fields else Change.UNCHANGED)
