"""What the extractor finds in an article, before it becomes an event. Offsets count code points of the body."""

import msgspec


class Filler(msgspec.Struct, frozen=True, kw_only=True):
    """A span that fills a slot."""

    role: str
    start: int
    end: int
    confidence: float


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """One event mention. `sentence_*` is the sentence that holds the trigger."""

    type: str
    realis: str
    root: str | None
    mode: str | None
    confidence: float
    trigger_start: int
    trigger_end: int
    fillers: list[Filler]
    sentence_start: int
    sentence_end: int
    sentence_index: int


class Extraction(msgspec.Struct, frozen=True, kw_only=True):
    """All mentions of one article in the order of their triggers, and how many code points were read."""

    mentions: list[Mention]
    chars_read: int


class ModelIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which model found it. `revision` is a hash of its weights."""

    name: str
    revision: str
    taxonomy_version: str
