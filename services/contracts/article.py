"""An article: what a producer publishes and the processor reads."""

import hashlib
from datetime import datetime
from typing import Annotated

import msgspec

ArticleId = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class Article(msgspec.Struct, frozen=True, kw_only=True):
    """One news article. Readers ignore fields that they do not know."""

    id: ArticleId
    text: str = ""
    title: str = ""
    publisher: str | None = None
    published_at: Timestamp | None = None
    """When the publisher dated it (RFC 3339, with an offset)."""
    url: str | None = None
    language: str | None = None
    """BCP 47, such as `en` or `en-GB`; null when the source does not say."""

    @property
    def body(self) -> str:
        """What is read, and what every offset counts in: the text, or the title of an article without text."""
        return self.text or self.title

    @property
    def body_sha256(self) -> str:
        """SHA-256 of the body in UTF-8, in hexadecimal."""
        return hashlib.sha256(self.body.encode()).hexdigest()
