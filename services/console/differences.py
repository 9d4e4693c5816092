"""What another extraction of an article says otherwise than the events that were published."""

from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from services.contracts import Argument, Event

# Confidences that are so close say the same. In bfloat16 a model gives other last digits in another batch: 24 seeds,
# extracted one by one and all at once, differed by up to 0.015 in 753 events and their arguments.
CONFIDENCE_TOLERANCE = 0.02
# Not of these: the ids, by which events are paired, and the provenance, which names the model and the time.
_COMPARED = ("type", "realis", "plover", "confidence", "trigger", "arguments", "sentence", "article")


class Change(Enum):
    """What has become of an event."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """An event before and after, and the fields that differ."""

    change: Change
    before: Event | None
    after: Event | None
    fields: list[str] = []

    @property
    def event(self) -> Event:
        """The event as it is now, or as it was."""
        event = self.after or self.before
        assert event
        return event


def differences(before: Mapping[str, Event], after: Iterable[Event]) -> list[Difference]:
    """Of one article's events: `before` by their ids; those that are unchanged, too."""
    left = dict(before)
    found = [_difference(left.pop(event.event_id, None), event) for event in after]
    return found + [Difference(change=Change.GONE, before=event, after=None) for event in left.values()]


def _difference(before: Event | None, after: Event) -> Difference:
    if before is None:
        return Difference(change=Change.NEW, before=None, after=after)
    fields = [name for name in _COMPARED if not _same(getattr(before, name), getattr(after, name))]
    return Difference(change=Change.CHANGED if fields else Change.UNCHANGED, before=before, after=after, fields=fields)


def _same(before: object, after: object) -> bool:
    """Equal, but for the last digits of confidences, which are the only numbers with a fraction that a model gives."""
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= CONFIDENCE_TOLERANCE
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, Argument) and isinstance(after, Argument):
        return all(_same(getattr(before, name), getattr(after, name)) for name in Argument.__struct_fields__)
    return before == after
