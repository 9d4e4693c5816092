"""The labels that a public set itself gives (`source_type`, `source_roles`): to learn them, to be scored by them."""

from pathlib import Path

import msgspec

from .corpus import Complete, GoldEvent, Passage, Span
from .scoring import ScoredEvent

# The version that a model's card names in place of the taxonomy's if the model was taught a source's labels.
SOURCE_LABELS = "labels of the source"


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the taxonomy's labels are called by a source: `types` by type, `roles` by source type and slot."""

    types: dict[str, str]
    roles: dict[str, dict[str, str]]


def read_mapping(path: Path) -> Mapping:
    """A mapping file. Raises msgspec.ValidationError where it breaks the format."""
    return msgspec.json.decode(path.read_bytes(), type=Mapping)


def relabelled(passage: Passage) -> Passage:
    """The passage with its source's own types and roles; what only the codebook has is unknown."""
    events = []
    for event in passage.events:
        if event.trigger and event.source_type:
            slots: dict[str, list[Span]] = {}
            for role, start, end in event.source_roles:
                slots.setdefault(role, []).append((start, end))
            events.append(GoldEvent(trigger=event.trigger, type=short(event.source_type), slots=slots))
    complete = Complete(triggers=passage.complete.triggers, slots=True, plover=False, realis=False)
    return Passage(id=passage.id, text=passage.text, article=passage.article, events=events, complete=complete)


def short(source_type: str) -> str:
    """A type without WikiEvents' third level, which half of its annotations leave unspecified."""
    return ".".join(source_type.split(".")[:2])


def translated(event: ScoredEvent, mapping: Mapping) -> ScoredEvent | None:
    """The event as the source would call it; none if the source has no such type. Fillers of no role are left out."""
    kind = mapping.types.get(event.type)
    if kind is None:
        return None
    roles = mapping.roles.get(kind, {})
    event.type = kind
    event.fillers = [(roles[slot], start, end) for slot, start, end in event.fillers if slot in roles]
    return event
