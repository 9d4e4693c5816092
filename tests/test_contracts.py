"""What crosses Kafka, as somebody else's code reads it."""

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, TOPICS
from services.contracts import Article, event_id
from services.contracts.headers import (
    ARTICLE_TYPE,
    EVENT_TYPE,
    cloud_event_headers,
    dead_letter_headers,
    resolution_headers,
)
from services.contracts.schemas import SCHEMAS, article_schema

ASYNCAPI: dict[str, Any] = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a node of the AsyncAPI document is, or refers to within the document."""
    while reference := node.get("$ref"):
        node = ASYNCAPI
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]
    return node


def required_headers(channel: str, message: str) -> set[str]:
    headers = resolved(ASYNCAPI["channels"][channel]["messages"][message])["headers"]
    return {name for part in headers.get("allOf", [headers]) for name in resolved(part).get("required", ())}


# An event's id is a promise: of a subscriber who stored one, and of every later version of this code.
@pytest.mark.parametrize(
    ("article_id", "start", "end", "expected"),
    [
        ("seed-001-jordan-iraq-pact", 38, 44, "69b71b88-fc68-5aea-a62b-8339ab9bc012"),
        ("\N{ARABIC-INDIC DIGIT ONE} x", 0, 7, "21826ce0-a28c-5520-b017-ac5525fd82f6"),
    ],
)
def test_the_id_of_an_event_never_changes(article_id: str, start: int, end: int, expected: str) -> None:
    assert event_id(article_id, start, end) == expected


@given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 99), st.integers(0, 99)), unique=True, min_size=2))
def test_different_triggers_have_different_ids(triggers: list[tuple[str, int, int]]) -> None:
    assert len({event_id(*trigger) for trigger in triggers}) == len(triggers)


def test_the_hash_of_an_article_is_that_of_what_offsets_count_in() -> None:
    titled = Article(id="a", title="Iran and Syria sign pact")
    assert titled.body_sha256 == Article(id="b", text="Iran and Syria sign pact", title="Pact").body_sha256


@pytest.mark.parametrize("written", ["2020-07-10T09:00:00Z", "2020-07-10T12:00:00+03:00"])
def test_a_time_of_publication_keeps_its_moment(written: str) -> None:
    article = msgspec.json.decode(json.dumps({"id": "a", "published_at": written}), type=Article)
    assert article.published_at == datetime(2020, 7, 10, 9, tzinfo=UTC)
    assert msgspec.json.decode(msgspec.json.encode(article), type=Article) == article


def test_what_the_producer_publishes_keeps_to_the_schema() -> None:
    article = Article(id="a", text="War.", published_at=datetime(2020, 7, 10, 9, tzinfo=UTC), language="en")
    jsonschema.validate(json.loads(msgspec.json.encode(article)), article_schema())


@pytest.mark.parametrize("kind", [ARTICLE_TYPE, EVENT_TYPE])
def test_the_cloudevents_sdk_reads_our_headers(kind: str) -> None:
    headers = dict(cloud_event_headers(event_id="1", event_type=kind, source="tidings/test"))
    message = KafkaMessage(headers=headers, key=b"a", value=b'{"id": "a"}')
    event = from_binary_event(message, JSONFormat())
    assert event.get_id() == "1"
    assert event.get_type() == kind
    assert event.get_source() == "tidings/test"
    assert event.get_specversion() == "1.0"
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == {"id": "a"}
    time = event.get_time()
    assert time is not None
    assert abs((datetime.now(UTC) - time).total_seconds()) < 3600


def test_the_asyncapi_document_has_our_topics_with_their_limits() -> None:
    documented = {
        channel["address"]: {
            name: str(value) for name, value in channel["bindings"]["kafka"]["topicConfiguration"].items()
        }
        for channel in ASYNCAPI["channels"].values()
    }
    assert documented == {topic.name: topic.config() for topic in TOPICS}


def test_the_asyncapi_document_names_the_headers_that_we_write() -> None:
    ours = dict(cloud_event_headers(event_id="1", event_type=EVENT_TYPE, source="x")).keys()
    assert required_headers("articles", "article") == required_headers("events", "event") == set(ours)
    context = dead_letter_headers(
        topic=ARTICLES_TOPIC, partition=0, offset=0, stage="read", exception="E", message="m", attempt=1
    )
    assert ASYNCAPI["channels"]["deadLetters"]["address"] == DEAD_LETTER_TOPIC
    assert required_headers("deadLetters", "deadLetter") == {name for name, _ in context}
    resolution = resolution_headers(partition=0, offset=0, action="drop")
    assert required_headers("deadLetters", "resolution") == {name for name, _ in resolution}


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            found = [node["$ref"]] if "$ref" in node else []
            return found + [reference for value in node.values() for reference in references(value)]
        return [reference for value in node for reference in references(value)] if isinstance(node, list) else []

    found = references(ASYNCAPI)
    assert found
    for reference in found:
        if reference.startswith("#"):
            assert resolved({"$ref": reference})
        else:
            assert (SCHEMAS / reference).is_file(), reference
