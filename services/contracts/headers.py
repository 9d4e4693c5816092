"""Kafka headers of ours: CloudEvents 1.0 in binary mode on articles and events, error context on dead letters."""

from datetime import UTC, datetime

Headers = list[tuple[str, bytes]]

ARTICLE_TYPE = "news.article.v1"
EVENT_TYPE = "news.event.v1"


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
    *, topic: str, partition: int, offset: int, stage: str, exception: str, message: str
) -> Headers:
    """Why a record was set aside and where it came from, in Kafka Streams' vocabulary (KIP-1034), in UTF-8."""
    context = {
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "exception": exception,
        "message": message,
        "stage": stage,
    }
    return [(f"__streams.errors.{name}", value.encode()) for name, value in context.items()]
