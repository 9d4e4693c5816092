"""What a person sees of the events: the table, the tail."""

import io
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer
from rich.cells import cell_len
from rich.console import Console

from services.broker import EmbeddedBroker, free_port
from services.clients.kafka import create_topics, producer_options
from services.clients.topics import EVENTS_TOPIC
from services.console.table import EventTable
from services.console.tail import Arrival, Tail, follow
from services.contracts import (
    Argument,
    ArticleReference,
    Coverage,
    Event,
    Plover,
    Provenance,
    Sentence,
    TextSpan,
    event_id,
)


def make_event(
    article_id: str = "a1",
    *,
    realis: str = "asserted",
    arguments: Sequence[tuple[str, str]] = (("actor", "Iran"), ("recipient", "Syria")),
    trigger: str = "signed",
    title: str = "A pact",
    minute: int = 0,
) -> Event:
    return Event(
        event_id=event_id(article_id, 0, len(trigger)),
        article_id=article_id,
        type="diplomacy.agree",
        realis=realis,
        confidence=0.94,
        plover=Plover(root="SUPPORT", mode=None, quad_class=1, intensity=5.0),
        trigger=TextSpan(text=trigger, start=0, end=len(trigger)),
        arguments=[Argument(role=role, text=text, start=0, end=len(text), confidence=1.0) for role, text in arguments],
        sentence=Sentence(text=trigger, start=0, end=len(trigger), index=0),
        article=ArticleReference(
            title=title,
            publisher="Wire",
            published_at=datetime(2020, 7, 10, 9, 0, tzinfo=UTC),
            url=None,
            language="en",
            text_sha256="0" * 64,
        ),
        provenance=Provenance(
            model="tidings-small",
            model_revision="1",
            taxonomy_version="1.2",
            extracted_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
            coverage=Coverage(chars_read=1, chars_total=1),
        ),
    )


def shown(*events: Event, width: int = 100, terminal: bool = True, colour: bool = False) -> list[str]:
    """The table's lines, header first."""
    output = io.StringIO()
    console = Console(
        file=output, width=width, force_terminal=terminal, color_system="standard" if colour else None, highlight=False
    )
    table = EventTable(console)
    for event in events:
        table.show(Arrival(event, b""))
    return output.getvalue().splitlines()


def test_a_row_says_when_what_who_to_whom_where_and_how_sure() -> None:
    arguments = (("actor", "Iran"), ("recipient", "Syria"), ("place", "Damascus"), ("time", "Wednesday"))
    header, headline, row = shown(make_event(arguments=arguments))
    assert " ".join(header.split()) == "UTC type PLOVER who → whom or what where when realis conf"
    assert headline.split() == ["2020-07-10", "Wire", "A", "pact"]
    assert " ".join(row.split()) == "09:00 diplomacy.agree SUPPORT Iran signed → Syria Damascus Wednesday asserted 0.94"


def test_the_header_comes_once_and_the_headline_once_for_events_of_an_article_in_a_row() -> None:
    lines = shown(make_event("a1"), make_event("a1"), make_event("a2"))
    assert [line.split()[0] for line in lines] == ["UTC", "2020-07-10", "09:00", "09:00", "2020-07-10", "09:00"]


@pytest.mark.parametrize("width", [100, 160])
def test_rows_with_long_texts_fit_the_terminal_and_keep_the_trigger(width: int) -> None:
    long = "the Foreign Minister of the Islamic Republic 外務大臣" * 3
    _, _, row = shown(
        make_event(arguments=[(role, long) for role in ("actor", "recipient", "place", "time")]), width=width
    )
    assert cell_len(row) <= width
    assert " signed → " in row
    assert row.count("…") == 4


def test_a_wide_terminal_shows_more_of_a_long_name() -> None:
    name = "the Foreign Minister of the Islamic Republic"
    event = make_event(arguments=[("actor", name), ("place", "Damascus"), ("time", "Wednesday")])
    assert name not in shown(event, width=100)[-1]
    assert name in shown(event, width=160)[-1]


@pytest.mark.parametrize(
    "realis", ["negated", "future", "hypothetical", "alleged", "historical", "of a later taxonomy"]
)
def test_what_is_not_asserted_is_in_capitals_and_in_another_colour(realis: str) -> None:
    plain, coloured = shown(make_event(realis=realis))[-1], shown(make_event(realis=realis), colour=True)[-1]
    asserted = shown(make_event(), colour=True)[-1]
    assert realis.upper()[:11] in plain
    assert coloured.partition("09:00")[0] != asserted.partition("09:00")[0]
    assert coloured.count("\x1b[") > asserted.count("\x1b[")


def test_a_movement_shows_where_to_if_no_place_is_named() -> None:
    assert "to Aden" in shown(make_event(arguments=[("actor", "Aircraft"), ("destination", "Aden")]))[-1]
    assert "from Aden" in shown(make_event(arguments=[("actor", "Aircraft"), ("origin", "Aden")]))[-1]


def test_control_characters_and_markup_of_an_article_do_not_reach_the_terminal() -> None:
    hostile = "\x1b[2J\x07[red]Iran[/red]\r\n\u202e"
    lines = shown(make_event(arguments=[("actor", hostile)], trigger="\x9b2J", title=hostile), width=160)
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert all("[red]Iran[/red]" in line for line in lines[1:])


def test_a_pipe_gets_the_same_table_without_colours() -> None:
    (*_, row) = shown(make_event(realis="alleged"), terminal=False, width=80)
    assert row.isprintable()
    assert "Iran signed → Syria" in row
    assert "ALLEGED" in row


# The tail. Its topic is shared with other tests: each looks at its own article only.


def publish(kafka: str, *values: bytes | None) -> None:
    with KafkaProducer(**producer_options(kafka)) as producer:
        for value in values:
            producer.send(EVENTS_TOPIC, key=b"console", value=value)


def arrivals(kafka: str, article_id: str) -> list[Arrival]:
    found: list[Arrival] = []
    follow(kafka, show=found.append, from_start=True, once=True)
    return [arrival for arrival in found if arrival.event.article_id == article_id]


def test_a_repeat_of_an_event_is_shown_once_and_a_revision_again(kafka: str) -> None:
    article_id = f"tail-{uuid.uuid4()}"
    first = make_event(article_id)
    repeat = msgspec.structs.replace(make_event(article_id, minute=1), confidence=first.confidence + 0.01)
    revision = make_event(article_id, realis="negated")
    publish(kafka, *map(msgspec.json.encode, (first, repeat, revision)))
    assert [arrival.event for arrival in arrivals(kafka, article_id)] == [first, revision]


def test_fields_that_this_version_does_not_know_are_passed_on_in_one_line(kafka: str) -> None:
    article_id = f"tail-{uuid.uuid4()}"
    later = msgspec.to_builtins(make_event(article_id)) | {"place": {"country": "SYR"}}
    publish(kafka, msgspec.json.format(msgspec.json.encode(later), indent=2))
    (arrival,) = arrivals(kafka, article_id)
    assert b"\n" not in arrival.json
    assert msgspec.json.decode(arrival.json) == later


def test_a_record_that_is_no_event_is_said_and_passed_by(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedBroker(data_dir=tmp_path, port=free_port()) as own:  # what is no event would disturb other tests
        create_topics(own.bootstrap_servers, partitions=1)
        values = (b"{not JSON", None, b'{"event_id": 7}', b"\xff", msgspec.json.encode(make_event("a1")))
        publish(own.bootstrap_servers, *values)
        assert len(arrivals(own.bootstrap_servers, "a1")) == 1
    assert "not an event: news.events.v1, partition" in caplog.text
    assert "(4 such records so far)" in caplog.text


def test_a_tail_that_does_not_begin_at_the_start_shows_only_what_arrives_later(kafka: str) -> None:
    before, after = f"tail-{uuid.uuid4()}", f"tail-{uuid.uuid4()}"
    publish(kafka, msgspec.json.encode(make_event(before)))
    with Tail(kafka, from_start=False) as tail:
        assert tail.at_end()
        publish(kafka, msgspec.json.encode(make_event(after)))
        found: list[str] = []
        while after not in found:
            found += [arrival.event.article_id for arrival in tail.poll(1.0)]
    assert before not in found
