"""An article and what was found in it, joined to the events that are published."""

from datetime import UTC, datetime

from services.contracts import (
    Argument,
    Article,
    ArticleReference,
    Coverage,
    Event,
    Plover,
    Provenance,
    Sentence,
    TextSpan,
    event_id,
)
from services.extractor.mention import Extraction, Mention, ModelIdentity
from services.taxonomy import load_taxonomy

from .rejection import Rejection, Stage


class SpanError(Exception):
    """A span that is no piece of its article's text: a defect of ours, never the article's."""


def assembled(article: Article, extraction: Extraction | Rejection, model: ModelIdentity) -> list[Event] | Rejection:
    """The same as `assemble`, or why there are no events: what failed before, or here."""
    if isinstance(extraction, Rejection):
        return extraction
    try:
        return assemble(article, extraction, model)
    except Exception as error:
        return Rejection.of(error, stage=Stage.ASSEMBLE)


def assemble(article: Article, extraction: Extraction, model: ModelIdentity) -> list[Event]:
    """The events of one article, in the order of their triggers.

    Raises:
        SpanError: an offset lies outside the text.
    """
    body = article.body
    reference = ArticleReference(
        title=article.title,
        publisher=article.publisher,
        published_at=article.published_at,
        url=article.url,
        language=article.language or "en",
        text_sha256=article.body_sha256,
    )
    provenance = Provenance(
        model=model.name,
        model_revision=model.revision,
        taxonomy_version=model.taxonomy_version,
        extracted_at=datetime.now(UTC),
        coverage=Coverage(chars_read=extraction.chars_read, chars_total=len(body)),
    )
    return [
        Event(
            event_id=event_id(article.id, mention.trigger_start, mention.trigger_end),
            article_id=article.id,
            type=mention.type,
            realis=mention.realis,
            confidence=_probability(mention.confidence),
            plover=_plover(mention),
            trigger=TextSpan(
                text=_surface(body, mention.trigger_start, mention.trigger_end),
                start=mention.trigger_start,
                end=mention.trigger_end,
            ),
            arguments=[
                Argument(
                    role=filler.role,
                    text=_surface(body, filler.start, filler.end),
                    start=filler.start,
                    end=filler.end,
                    confidence=_probability(filler.confidence),
                )
                for filler in mention.fillers
            ],
            sentence=Sentence(
                text=_surface(body, mention.sentence_start, mention.sentence_end),
                start=mention.sentence_start,
                end=mention.sentence_end,
                index=mention.sentence_index,
            ),
            article=reference,
            provenance=provenance,
        )
        for mention in extraction.mentions
    ]


def _surface(body: str, start: int, end: int) -> str:
    if not 0 <= start < end <= len(body):
        raise SpanError(f"[{start}:{end}] is no span of a text of {len(body)} characters")
    return body[start:end]


def _plover(mention: Mention) -> Plover | None:
    if mention.root is None:
        return None
    root = load_taxonomy().plover.root(mention.root)
    return Plover(root=root.name, mode=mention.mode, quad_class=root.quad_class, intensity=root.intensity)


def _probability(value: float) -> float:
    """Four digits: more would only tell one processor's arithmetic from another's."""
    return round(min(1.0, max(0.0, value)), 4)
