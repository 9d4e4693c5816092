"""The corpus format: JSON Lines, one passage a line, offsets in code points of `text` (gzipped or not)."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec

Span = tuple[int, int]


class GoldEvent(msgspec.Struct, kw_only=True):
    """An annotated event. A null label is unknown, but for a null `plover` where the passage's roots are complete."""

    trigger: Span | None = None
    type: str | None = None
    plover: str | None = None
    mode: str | None = None
    realis: str | None = None
    slots: dict[str, list[Span]] = {}
    source_type: str | None = None
    source_roles: list[tuple[str, int, int]] = []
    """What the source itself says (public sets only): the type, and `(role, start, end)` of each argument."""


class Complete(msgspec.Struct, kw_only=True):
    """What the source annotates everywhere in the passage: only there is an unlabelled word a negative."""

    triggers: bool = True
    slots: bool = True
    plover: bool = True
    realis: bool = True


class Passage(msgspec.Struct, kw_only=True):
    """A passage with its events."""

    id: str
    text: str
    article: str | None = None
    events: list[GoldEvent] = []
    unsure: list[Span] = []
    """Where a trigger may or may not be: neither is taught."""
    complete: Complete = msgspec.field(default_factory=Complete)


def read_passages(path: Path) -> Iterator[Passage]:
    """Passages of a corpus file. Raises msgspec.ValidationError where a line breaks the format."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=Passage)
