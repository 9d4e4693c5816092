"""Scores of predicted events against gold ones: by offsets, after an optimal one-to-one matching of triggers."""

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

Filler = tuple[str, int, int]


@dataclass(slots=True)
class ScoredEvent:
    """An event as the scorer sees it; `fillers` are `(slot, start, end)`."""

    start: int
    end: int
    type: str
    root: str | None
    mode: str | None
    realis: str
    fillers: list[Filler]


@dataclass(slots=True)
class Count:
    """True positives, predictions, golds."""

    hits: int = 0
    predicted: int = 0
    gold: int = 0

    def precision(self) -> float:
        return 100 * self.hits / self.predicted if self.predicted else 0.0

    def recall(self) -> float:
        return 100 * self.hits / self.gold if self.gold else 0.0

    def f1(self) -> float:
        return 200 * self.hits / (self.predicted + self.gold) if self.predicted + self.gold else 0.0


@dataclass(slots=True)
class Scores:
    """All counts of a run.

    Labels and fillers are judged where triggers overlap; fillers of unmatched events count as missed or spurious.
    """

    trigger: Count = field(default_factory=Count)
    type: Count = field(default_factory=Count)
    slots_exact: Count = field(default_factory=Count)
    slots_overlapping: Count = field(default_factory=Count)
    trigger_classification: Count = field(default_factory=Count)
    """Distinct (offsets, type) of a passage: TC of TextEE (Huang et al. 2024)."""
    argument_classification: Count = field(default_factory=Count)
    """Distinct (event type, offsets, role) of a passage: its AC."""
    labels: dict[str, Count] = field(default_factory=lambda: {name: Count() for name in ("root", "realis", "mode")})
    types: dict[str, Count] = field(default_factory=dict)
    realis: dict[str, Count] = field(default_factory=dict)
    """By gold value, on matched events."""

    def summary(self) -> dict[str, float]:
        """The figures of the model card: F1, or accuracy on matched events, in per cent."""
        return {
            "trigger_f1": self.trigger.f1(),
            "type_f1": self.type.f1(),
            "root_accuracy": self.labels["root"].recall(),
            "realis_accuracy": self.labels["realis"].recall(),
            "mode_accuracy": self.labels["mode"].recall(),
            "slots_exact_f1": self.slots_exact.f1(),
            "slots_overlapping_f1": self.slots_overlapping.f1(),
        }


def add_passage(scores: Scores, text: str, predicted: list[ScoredEvent], gold: list[ScoredEvent]) -> None:
    """Count one passage."""
    pairs = match(predicted, gold)
    add_distinct(
        scores.trigger_classification,
        {(event.start, event.end, event.type) for event in predicted},
        {(event.start, event.end, event.type) for event in gold},
    )
    add_distinct(
        scores.argument_classification,
        {(event.type, filler) for event in predicted for filler in event.fillers},
        {(event.type, filler) for event in gold for filler in event.fillers},
    )
    scores.trigger.hits += len(pairs)
    scores.trigger.predicted += len(predicted)
    scores.trigger.gold += len(gold)
    scores.type.predicted += len(predicted)
    scores.type.gold += len(gold)
    for event in predicted:
        scores.types.setdefault(event.type, Count()).predicted += 1
    for event in gold:
        scores.types.setdefault(event.type, Count()).gold += 1
    for count in (scores.slots_exact, scores.slots_overlapping):
        count.predicted += sum(len(event.fillers) for event in predicted)
        count.gold += sum(len(event.fillers) for event in gold)
    for guess, truth in pairs:
        if guess.type == truth.type:
            scores.type.hits += 1
            scores.types[truth.type].hits += 1
        for name, count in scores.labels.items():
            if name != "mode" or truth.mode:
                count.gold += 1
                count.hits += getattr(guess, name) == getattr(truth, name)
        value = scores.realis.setdefault(truth.realis, Count())
        value.gold += 1
        value.hits += guess.realis == truth.realis
        ours, theirs = [bare(text, f) for f in guess.fillers], [bare(text, f) for f in truth.fillers]
        scores.slots_exact.hits += sum((Counter(ours) & Counter(theirs)).values())
        scores.slots_overlapping.hits += _overlapping(ours, theirs)


def add_distinct(count: Count, predicted: Set[Any], gold: Set[Any]) -> None:
    """Count what both sets have."""
    count.predicted += len(predicted)
    count.gold += len(gold)
    count.hits += len(predicted & gold)


def match(predicted: list[ScoredEvent], gold: list[ScoredEvent]) -> list[tuple[ScoredEvent, ScoredEvent]]:
    """One to one, as many overlapping pairs as can be; among those, pairs of one type first."""
    value = np.zeros((len(predicted), len(gold)))
    for row, guess in enumerate(predicted):
        for column, truth in enumerate(gold):
            if guess.start < truth.end and truth.start < guess.end:
                value[row, column] = 1 + 0.01 * (guess.type == truth.type)
    rows, columns = linear_sum_assignment(value, maximize=True)
    return [(predicted[r], gold[c]) for r, c in zip(rows, columns, strict=True) if value[r, c]]


def _overlapping(ours: list[Filler], theirs: list[Filler]) -> int:
    value = np.zeros((len(ours), len(theirs)))
    for row, (slot, start, end) in enumerate(ours):
        for column, (other, begin, stop) in enumerate(theirs):
            value[row, column] = slot == other and start < stop and begin < end
    rows, columns = linear_sum_assignment(value, maximize=True)
    return int(value[rows, columns].sum())


def bare(text: str, filler: Filler) -> Filler:
    """A filler without its leading article, which two annotators put or leave at will."""
    slot, start, end = filler
    for article in ("the ", "a ", "an "):
        if text[start:end].lower().startswith(article):
            return slot, start + len(article), end
    return filler
