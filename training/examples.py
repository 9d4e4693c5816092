"""Passages to training examples: the labels of a window's words and of its events, as class indices."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from services.extractor.config import TidingsConfig
from services.extractor.windows import Window, prepare

from .corpus import Passage, Span

# A passage is one window in training, whatever its length; the encoder's position table ends at 512 with two specials.
MAX_PIECES = 510
# The loss ignores a word or a class with this label.
UNKNOWN = -100


@dataclass(slots=True)
class EventLabels:
    """Class indices of one event: `tags` has a label for every word of the window."""

    start: int
    end: int
    type: int
    realis: int
    root: int
    mode: int
    tags: list[int]


@dataclass(slots=True)
class Example:
    """A window with the type label (0: no trigger) and the continuation label of each word, and its events."""

    window: Window
    types: list[int]
    continuation: list[int]
    events: list[EventLabels]


def make_examples(passages: list[Passage], tokenizer: Tokenizer, config: TidingsConfig) -> list[Example]:
    """One example a passage (its first window: none of the news corpus is longer)."""
    examples = []
    for passage in passages:
        windows = prepare([passage.text], tokenizer, max_pieces=MAX_PIECES).windows
        if windows:
            examples.append(_example(windows[0], passage, config))
    return examples


def pad(rows: list[list[int]]) -> Tensor:
    """Label rows as a rectangle, padded with UNKNOWN."""
    width = max(map(len, rows))
    return torch.tensor([row + [UNKNOWN] * (width - len(row)) for row in rows])


def _example(window: Window, passage: Passage, config: TidingsConfig) -> Example:
    words = len(window.starts)
    unlabelled = 0 if passage.complete.triggers else UNKNOWN
    example = Example(window=window, types=[unlabelled] * words, continuation=[UNKNOWN] * words, events=[])
    for doubtful in passage.unsure:
        if touched := words_of(window, doubtful):
            example.types[slice(*touched)] = [UNKNOWN] * (touched[1] - touched[0])
    for event in passage.events:
        span = words_of(window, event.trigger) if event.trigger and event.type else None
        if span is None:
            continue
        start, end = span
        assert event.type
        kind = config.types.index(event.type)
        for word in range(start, end):
            example.types[word] = kind + 1
            example.continuation[word] = int(word > start)
        example.events.append(
            EventLabels(
                start=start,
                end=end,
                type=kind,
                realis=config.realis.index(event.realis) if event.realis else UNKNOWN,
                root=_class(event.plover, config.roots, known=passage.complete.plover),
                mode=_class(event.mode, config.modes, known=passage.complete.plover),
                tags=_tags(window, event.slots, config.slots),
            )
        )
    return example


def _class(label: str | None, labels: list[str], *, known: bool) -> int:
    """Class 0 is "none": a null label where null is known to mean that."""
    if label is None:
        return 0 if known else UNKNOWN
    return labels.index(label) + 1


def _tags(window: Window, slots: dict[str, list[Span]], order: list[str]) -> list[int]:
    """BIO tags. Where two fillers overlap (three in a hundred) the one whose slot comes first in the taxonomy wins."""
    tags = [0] * len(window.starts)
    for index, slot in enumerate(order):
        for filler in slots.get(slot, []):
            span = words_of(window, filler)
            if span and not any(tags[span[0] : span[1]]):
                tags[span[0] : span[1]] = [1 + 2 * index] + [2 + 2 * index] * (span[1] - span[0] - 1)
    return tags


def words_of(window: Window, span: Span) -> tuple[int, int] | None:
    """The words that a span of the text touches."""
    touched = [
        i for i, (s, e) in enumerate(zip(window.starts, window.ends, strict=True)) if s < span[1] and e > span[0]
    ]
    return (touched[0], touched[-1] + 1) if touched else None
