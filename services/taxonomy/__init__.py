"""The event types, PLOVER roots, modes, scores, slots, realis: data and look-ups. The data: `schemas/taxonomy.json`."""

from functools import cache
from pathlib import Path

import msgspec

TAXONOMY_FILE = Path(__file__).parents[2] / "schemas" / "taxonomy.json"


class Term(msgspec.Struct, frozen=True):
    """A slot or a realis value."""

    name: str
    definition: str


class EventType(msgspec.Struct, frozen=True):
    """An event type. `plover` is its default root, null where nobody acts toward another actor."""

    name: str
    plover: str | None
    definition: str


class PloverRoot(msgspec.Struct, frozen=True):
    """A PLOVER root with its quad class (1 to 4) and its intensity (-10 hostile to 10 cooperative)."""

    name: str
    quad_class: int
    intensity: float


class PloverCodes(msgspec.Struct, frozen=True):
    quad_classes: dict[str, str]
    roots: list[PloverRoot]
    modes: dict[str, list[str]]
    """Modes by root; a root without modes is absent."""

    def root(self, name: str) -> PloverRoot:
        return next(root for root in self.roots if root.name == name)


class Taxonomy(msgspec.Struct, frozen=True):
    version: str
    types: list[EventType]
    plover: PloverCodes
    slots: list[Term]
    realis: list[Term]


@cache
def load_taxonomy() -> Taxonomy:
    """The taxonomy in force, read once."""
    return msgspec.json.decode(TAXONOMY_FILE.read_bytes(), type=Taxonomy)
