"""What a record's bytes are read as."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.clients.topics import MAX_ARTICLE_BYTES
from services.contracts import Article
from services.processor.intake import Skip, read
from services.processor.rejection import Rejection, Stage

ENGLISH = (
    "The two governments signed a trade pact on Tuesday after months of talks, and said that it would take effect in "
    "the spring. Farmers protested against it in the capital."
)
GERMAN = (
    "Die beiden Regierungen haben am Dienstag nach monatelangen Gesprächen ein Handelsabkommen unterzeichnet, das im "
    "Frühjahr in Kraft treten soll. In der Hauptstadt protestierten Bauern dagegen."
)


def record(text: str, **fields: str) -> bytes:
    return msgspec.json.encode({"id": "a", "text": text} | fields)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "truncated"),
        (b"air strike", "malformed"),
        (b'{"id": "a"} x', "trailing"),
        (b'\xef\xbb\xbf{"id": "a"}', "malformed"),
        (b'{"id": "a", "text": "\xff"}', "can't decode byte 0xff"),
        (b'{"id": "a", "other": "\xff"}', "can't decode byte 0xff"),
        (b'{"id": "a", "text": "\xed\xa0\x80"}', "can't decode byte 0xed"),
        (b'{"text": "no id"}', "missing required field `id`"),
        (b'{"id": ""}', "length >= 1"),
        (b'{"id": "a", "text": 7}', "`$.text`"),
        (b'{"id": "a", "published_at": "2020-07-10"}', "`$.published_at`"),
        (b'{"id": "a", "published_at": "0000-01-01T00:00:00Z"}', "`$.published_at`"),
        (b"[]", "Expected `object`"),
        (b'{"id": "a", "other": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_article_is_rejected_with_a_reason(value: bytes, reason: str) -> None:
    rejection = read(value)
    assert isinstance(rejection, Rejection)
    assert rejection.stage is Stage.READ
    assert reason in rejection.message


@pytest.mark.parametrize("escape", [r"\ud800", r"\udc00", r"\ud83d x", r"\ud800\ud800"])
def test_lone_surrogates_are_rejected_since_they_are_no_text(escape: str) -> None:
    assert isinstance(read(f'{{"id": "a", "text": "{escape}"}}'.encode()), Rejection)


def test_a_surrogate_pair_is_one_character() -> None:
    article = read(rb'{"id": "a", "text": "\ud83d\ude00"}')
    assert isinstance(article, Article)
    assert article.text == "😀"


def test_more_bytes_than_an_article_may_have_are_rejected() -> None:
    rejection = read(record("x" * MAX_ARTICLE_BYTES))
    assert isinstance(rejection, Rejection)
    assert rejection.exception == "ArticleTooLarge"


def test_unknown_fields_are_ignored() -> None:
    assert read(record("War.", editor="nobody")) == Article(id="a", text="War.")


@pytest.mark.parametrize("value", [None, record(""), record(" \n\t "), record("", title=" ")])
def test_a_record_with_nothing_to_read_is_empty_and_no_error(value: bytes | None) -> None:
    assert read(value) is Skip.EMPTY


def test_an_article_without_text_is_read_by_its_title() -> None:
    article = read(record("", title="Iran and Syria sign pact"))
    assert isinstance(article, Article)
    assert article.body == "Iran and Syria sign pact"


@pytest.mark.parametrize("language", ["de", "DE", "de-AT", "ar", "zh-Hans"])
def test_an_article_that_is_declared_in_another_language_is_skipped(language: str) -> None:
    assert read(record(ENGLISH, language=language)) is Skip.LANGUAGE


@pytest.mark.parametrize("language", ["en", "EN", "en-GB", "en_US"])
def test_an_article_that_is_declared_in_english_is_read_whatever_it_looks_like(language: str) -> None:
    assert isinstance(read(record(GERMAN, language=language)), Article)


@pytest.mark.parametrize("declared", [{}, {"language": ""}, {"language": "und"}])
def test_an_undeclared_language_is_told_by_the_text(declared: dict[str, str]) -> None:
    assert isinstance(read(record(ENGLISH, **declared)), Article)
    assert read(record(GERMAN, **declared)) is Skip.LANGUAGE


def test_a_text_too_short_to_tell_its_language_is_read() -> None:
    assert isinstance(read(record("Al Qaryatayn, Suwaydah, Abu Kamal")), Article)


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists).map(
        lambda value: json.dumps({"id": "a", "text": value}).encode()
    )
)
def test_any_bytes_are_read_or_skipped_or_rejected(value: bytes) -> None:
    assert isinstance(read(value), Article | Skip | Rejection)
