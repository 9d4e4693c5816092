"""What crosses Kafka: articles, events, their ids and headers. Imports nothing of ours and nothing heavy."""

from .article import Article
from .event import (
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

__all__ = [
    "Argument",
    "Article",
    "ArticleReference",
    "Coverage",
    "Event",
    "Plover",
    "Provenance",
    "Sentence",
    "TextSpan",
    "event_id",
]
