"""Kafka headers of ours: CloudEvents 1.0 in binary mode on articles and events, error context on dead letters."""

from collections.abc import Mapping
from datetime import UTC, datetime

Headers = list[tuple[str, bytes]]

ARTICLE_TYPE = "news.article.v1"
EVENT_TYPE = "news.event.v1"

RESOLVES_HEADER = "__tidings.dlq.resolves"
ACTION_HEADER = "__tidings.dlq.action"

_CONTEXT_PREFIX = "__streams.errors."
# Only these are the context: a header of that prefix which Kafka Streams itself has written is the record's own.
_CONTEXT_FIELDS = {"topic", "partition", "offset", "exception", "message", "stage", "attempt", "left_out_bytes"}
# An offset has 64 bits.
_MOST_DIGITS = 19


def cloud_event_headers(*, event_id: str, event_type: str, source: str) -> Headers:
    """Headers of a CloudEvent in Kafka's binary content mode, JSON data.

    Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2.
    """
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event_type,
        "ce_source": source,
        "ce_time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in attributes.items()]


def dead_letter_headers(
    *,
    topic: str,
    partition: int,
    offset: int,
    stage: str,
    exception: str,
    message: str,
    attempt: int,
    left_out_bytes: int | None = None,
) -> Headers:
    """Why a record was set aside and where it came from, in Kafka Streams' vocabulary (KIP-1034), in UTF-8.

    Ours in it: the stage; how often the record has failed by now; and the length of a value that is left out.
    """
    context = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "exception": exception,
        "message": message,
        "stage": stage,
        "attempt": str(attempt),
    }
    if left_out_bytes is not None:
        context["left_out_bytes"] = str(left_out_bytes)
    return [(_CONTEXT_PREFIX + name, value.encode()) for name, value in context.items()]


def retry_headers(*, attempt: int) -> Headers:
    """What a record carries that is published again: how often it has failed."""
    return [(f"{_CONTEXT_PREFIX}attempt", str(attempt).encode())]


def split_error_context(headers: Headers) -> tuple[Headers, dict[str, str]]:
    """A record's own headers as they came, and the error context among them, by its names without the prefix."""
    own: Headers = []
    context: dict[str, str] = {}
    for name, value in headers:
        field = name.removeprefix(_CONTEXT_PREFIX)
        if field != name and field in _CONTEXT_FIELDS:
            context[field] = (value or b"").decode(errors="replace")  # Kafka has null headers, whatever the type says
        else:
            own.append((name, value))
    return own, context


def failures(context: Mapping[str, str]) -> int:
    """How often a record with this error context has failed. Without any it has not; context of an earlier version of
    ours, or of somebody else, does not count and stands for one failure."""
    return number(context.get("attempt")) or 1 if context else 0


def number(text: str | None) -> int | None:
    """The number that a header of ours holds. What is no number is none: anybody may have written it."""
    return int(text) if text and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def resolution_headers(*, partition: int, offset: int, action: str) -> Headers:
    """Headers of a resolution: the record of the dead-letter topic by which a letter, at its place there, is done."""
    return [(RESOLVES_HEADER, f"{partition}:{offset}".encode()), (ACTION_HEADER, action.encode())]
