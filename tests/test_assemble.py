import pytest

from services.contracts import Article, event_id
from services.extractor.mention import Extraction, Filler, Mention, ModelIdentity
from services.processor.assemble import SpanError, assemble

MODEL = ModelIdentity(name="m", revision="r", taxonomy_version="1.2")
ARTICLE = Article(id="a", text="😀 Iran signed.")


def mention(*, end: int = 13, root: str | None = "SUPPORT") -> Mention:
    return Mention(
        type="diplomacy.agree",
        realis="asserted",
        root=root,
        mode=None,
        confidence=0.9,
        trigger_start=7,
        trigger_end=end,
        fillers=[Filler(role="actor", start=2, end=6, confidence=0.8)],
        sentence_start=0,
        sentence_end=14,
        sentence_index=0,
    )


def test_an_event_quotes_the_text_at_its_offsets_in_code_points() -> None:
    (event,) = assemble(ARTICLE, Extraction(mentions=[mention()], chars_read=14), MODEL)
    assert (event.trigger.text, event.arguments[0].text) == ("signed", "Iran")
    assert event.event_id == event_id("a", 7, 13)
    assert (event.provenance.coverage.chars_read, event.provenance.coverage.chars_total) == (14, 14)


def test_quad_class_and_intensity_follow_from_the_root_and_no_root_is_no_code() -> None:
    rooted, bare = assemble(ARTICLE, Extraction(mentions=[mention(), mention(root=None)], chars_read=14), MODEL)
    assert rooted.plover is not None
    assert (rooted.plover.quad_class, rooted.plover.intensity) == (1, 5.0)
    assert bare.plover is None


def test_an_offset_outside_of_the_text_is_never_published() -> None:
    with pytest.raises(SpanError, match="no span of a text of 14 characters"):
        assemble(ARTICLE, Extraction(mentions=[mention(end=99)], chars_read=14), MODEL)
