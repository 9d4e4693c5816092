import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.extractor.decoding import find_triggers, tagged_spans, trimmed, viterbi
from services.extractor.windows import looseness


def triggers(inside: list[float], continuation: list[float]) -> list[tuple[int, int]]:
    types = np.array([[1 - p, p] for p in inside], dtype=np.float32)
    return list(find_triggers(types, np.array(continuation, dtype=np.float32), threshold=0.5))


def test_a_word_above_the_threshold_is_a_trigger() -> None:
    assert triggers([0.1, 0.9, 0.1], [0, 0, 0]) == [(1, 2)]


def test_a_continuing_word_joins_the_trigger_before_it() -> None:
    assert triggers([0.9, 0.9, 0.9], [0.9, 0.9, 0.1]) == [(0, 2), (2, 3)]


def test_a_word_continues_nothing_when_no_trigger_is_before_it() -> None:
    assert triggers([0.1, 0.9, 0.1, 0.9], [0.9, 0.9, 0.9, 0.9]) == [(1, 2), (3, 4)]


def test_a_window_without_words_has_no_triggers() -> None:
    assert list(find_triggers(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.float32), threshold=0.5)) == []


def is_valid(path: tuple[int, ...]) -> bool:
    before = (0, *path)
    return all(tag == 0 or tag % 2 or previous in (tag, tag - 1) for previous, tag in itertools.pairwise(before))


@given(scores=st.lists(st.lists(st.floats(-9, 0), min_size=5, max_size=5), min_size=1, max_size=4))
def test_viterbi_finds_the_best_of_all_valid_sequences(scores: list[list[float]]) -> None:
    table = np.array([scores], dtype=np.float32)
    found = tuple(viterbi(table)[0])
    assert is_valid(found)

    def value(path: tuple[int, ...]) -> float:
        return float(sum(table[0, position, tag] for position, tag in enumerate(path)))

    best = max(value(path) for path in itertools.product(range(5), repeat=len(scores)) if is_valid(path))
    assert abs(value(found) - best) < 1e-4


def test_spans_begin_at_b_and_end_where_the_slot_ends() -> None:
    tags = np.array([0, 1, 2, 2, 1, 3, 0, 3, 4])
    assert list(tagged_spans(tags)) == [(0, 1, 4), (0, 4, 5), (1, 5, 6), (1, 7, 9)]


@pytest.mark.parametrize(
    ("phrase", "kept"),
    [
        (", an opposition party ,", "an opposition party"),
        ("Hong Kong and", "Hong Kong"),
        ("research and development", "research and development"),
        ("a U.S. -", "a U.S."),
        ("- 0.1 %", "- 0.1 %"),
        ("The", None),
        (", and the", None),
    ],
)
def test_a_filler_ends_with_a_word_of_its_own(phrase: str, kept: str | None) -> None:
    words = phrase.split()
    span = trimmed(0, len(words), list(map(looseness, words)))
    assert (span and " ".join(words[slice(*span)])) == kept
