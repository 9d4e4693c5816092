"""An event: what the processor publishes. One event a trigger."""

import uuid
from typing import Annotated

import msgspec

from .article import ArticleId, Timestamp

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Offset = Annotated[int, msgspec.Meta(ge=0)]

# Any fixed namespace will do, as long as it never changes: every event id ever published hangs on it.
_EVENT_NAMESPACE = uuid.UUID("6f0f3a52-0b1e-5d55-9f0c-74696469c473")


class TextSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the article's text: `text == body[start:end]`, in Unicode code points."""

    text: str
    start: Offset
    end: Offset


class Sentence(TextSpan, frozen=True, kw_only=True):
    """The sentence that holds the trigger, and its index in the article, from 0."""

    index: Offset


class Argument(TextSpan, frozen=True, kw_only=True):
    """A participant or attribute. `role` is a slot of the taxonomy; several arguments may share one."""

    role: str
    confidence: Probability


class Plover(msgspec.Struct, frozen=True, kw_only=True):
    """The event in PLOVER's terms: root, mode (or null), quad class 1 to 4, intensity from -10 to 10."""

    root: str
    mode: str | None
    quad_class: int
    intensity: float


class ArticleReference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the event was read: the article without its text."""

    title: str
    publisher: str | None
    published_at: Timestamp | None
    url: str | None
    language: str
    text_sha256: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the article was read, in Unicode code points."""

    chars_read: int
    chars_total: int


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Which model said so, by which taxonomy, when, and after reading how much."""

    model: str
    model_revision: str
    taxonomy_version: str
    extracted_at: Timestamp
    coverage: Coverage


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to whom, where, when, with what, whether it really happened, and who says so.

    Readers ignore fields that they do not know: `time`, `place` and, in an argument, `actor` are reserved for
    resolved facts.
    """

    event_id: str
    article_id: ArticleId
    type: str
    realis: str
    confidence: Probability
    plover: Plover | None
    trigger: TextSpan
    arguments: list[Argument]
    sentence: Sentence
    article: ArticleReference
    provenance: Provenance


def event_id(article_id: str, trigger_start: int, trigger_end: int) -> str:
    """The event's id: a pure function of article and trigger span, so that a repeat is the same event."""
    return str(uuid.uuid5(_EVENT_NAMESPACE, f"{trigger_start}:{trigger_end}:{article_id}"))
