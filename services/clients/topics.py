"""The topics: names, limits, retention. Stated here once, for producer, processor, console and broker alike."""

from dataclasses import dataclass

ARTICLES_TOPIC = "news.articles.v1"
EVENTS_TOPIC = "news.events.v1"
DEAD_LETTER_TOPIC = "news.articles.dlq.v1"
# What `tidings replay` finds: events beside those of the events topic, for comparison.
SHADOW_EVENTS_TOPIC = "news.events.v1.shadow"

# An article as JSON. A book of 300 pages is about 1 MB; four times that is room for scripts of three bytes a letter.
MAX_ARTICLE_BYTES = 4 * 1024 * 1024
# What surrounds the JSON in Kafka: an id of at most 2 KB as the key, our six headers, Kafka's framing. Generous.
_ENVELOPE_BYTES = 64 * 1024
# Any record of ours. Above the articles' limit, so that whatever Kafka let in can be set aside with its error headers.
MAX_RECORD_BYTES = MAX_ARTICLE_BYTES + 1024 * 1024

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, kw_only=True)
class TopicSpec:
    """A topic as we create it. Retention counts from ingestion, since record times are ingestion times.

    `max_message_bytes` bounds what Kafka stores: records with key, headers and framing, after compression.
    """

    name: str
    max_message_bytes: int
    retention_ms: int

    def config(self) -> dict[str, str]:
        """Kafka's own names for it."""
        return {"max.message.bytes": str(self.max_message_bytes), "retention.ms": str(self.retention_ms)}


TOPICS = (
    TopicSpec(name=ARTICLES_TOPIC, max_message_bytes=MAX_ARTICLE_BYTES + _ENVELOPE_BYTES, retention_ms=30 * _DAY_MS),
    TopicSpec(name=EVENTS_TOPIC, max_message_bytes=MAX_RECORD_BYTES, retention_ms=90 * _DAY_MS),
    TopicSpec(name=DEAD_LETTER_TOPIC, max_message_bytes=MAX_RECORD_BYTES, retention_ms=90 * _DAY_MS),
)
# Only who replays needs it, and creates it: the limits are those of the events topic.
SHADOW_TOPICS = (TopicSpec(name=SHADOW_EVENTS_TOPIC, max_message_bytes=MAX_RECORD_BYTES, retention_ms=90 * _DAY_MS),)
