"""A record's bytes to an article, or the reason why it is skipped or set aside."""

from enum import Enum
from functools import cache

import msgspec
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from services.clients.topics import MAX_ARTICLE_BYTES
from services.contracts import Article

from .rejection import Rejection, Stage

# Measured on 6,000 English news passages and on samples of seven other languages: with 100 characters and more, one
# passage in 6,000 (a run of HTML) passes for another language with a probability of 0.8, and every sample is told.
# Shorter texts, names above all, pass for anything: they are read.
_DETECTABLE_CHARS = 100
_CERTAIN = 0.8
# Enough to tell a language; an article that opens with a quotation in another one has come to itself by then.
_SAMPLE_CHARS = 4000


class Skip(Enum):
    """Why a record has no events, and no error either."""

    EMPTY = "empty"
    """Neither text nor title; or a tombstone, which Kafka gives the meaning "this key is gone"."""
    LANGUAGE = "skipped_language"
    """Not in English, which is all that the model reads."""


def read(value: bytes | None) -> Article | Skip | Rejection:
    """Read the value of an articles record. Its key need not be the article's id: the id in the value counts."""
    if value is None:
        return Skip.EMPTY
    if len(value) > MAX_ARTICLE_BYTES:
        return Rejection(
            stage=Stage.READ,
            exception="ArticleTooLarge",
            message=f"{len(value)} bytes, where an article has at most {MAX_ARTICLE_BYTES}",
        )
    try:
        # Decoded as a whole: msgspec does not look at the text of fields that it skips.
        article = msgspec.json.decode(value.decode(), type=Article)
    except (ValueError, RecursionError) as error:  # msgspec's errors and UnicodeDecodeError are ValueErrors
        return Rejection.of(error, stage=Stage.READ)
    if not article.body.strip():
        return Skip.EMPTY
    return article if _is_english(article) else Skip.LANGUAGE


def _is_english(article: Article) -> bool:
    """By the article's own language tag; undeclared, by its text, unless that is too short to tell."""
    primary = (article.language or "und").replace("_", "-").partition("-")[0].lower()
    if primary != "und":  # BCP 47 for "undetermined"
        return primary == "en"
    sample = article.body[:_SAMPLE_CHARS]
    if len(sample) < _DETECTABLE_CHARS:
        return True
    language, probability = _identifier().classify(sample)
    return bool(language == "en" or probability < _CERTAIN)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
