"""The last step's arithmetic: scores to triggers and fillers. Slot k has the tags B = 1 + 2k and I = 2 + 2k; O is 0."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def find_triggers(types: Floats, continuation: Floats, *, threshold: float) -> Iterator[tuple[int, int]]:
    """Word ranges `[start, end)` of the triggers of one window.

    `types` [W, 1 + types] and `continuation` [W] are probabilities. A word belongs to a trigger if "no trigger" leaves
    more than `threshold`; it continues the trigger before it if that is more likely than not.
    """
    inside = types[:, 0] < 1 - threshold
    start = 0
    for word in range(len(inside) + 1):
        if word > start and inside[word - 1] and (word == len(inside) or not inside[word] or continuation[word] <= 0.5):
            yield start, word
            start = word
        if word < len(inside) and not inside[word]:
            start = word + 1


def viterbi(scores: Floats) -> NDArray[np.int64]:
    """The best valid tag sequences, [E, L], for log-probabilities [E, L, 1 + 2 × slots].

    I of a slot only follows B or I of the same slot; all other transitions are free. The recursion is the textbook one
    (Forney, 1973), with that sparse transition matrix written out.
    """
    events, length, tags = scores.shape
    inner = np.arange(2, tags, 2)
    back = np.zeros((events, length, tags), dtype=np.int64)
    best = scores[:, 0].copy()
    best[:, inner] = -np.inf
    for position in range(1, length):
        previous = best.argmax(1)
        best_inner = np.where(best[:, inner - 1] >= best[:, inner], inner - 1, inner)
        back[:, position] = previous[:, None]
        back[:, position, inner] = best_inner
        best = scores[:, position] + np.take_along_axis(best, back[:, position], axis=1)
    path = np.zeros((events, length), dtype=np.int64)
    path[:, -1] = best.argmax(1)
    for position in range(length - 1, 0, -1):
        path[:, position - 1] = back[np.arange(events), position, path[:, position]]
    return path


def tagged_spans(tags: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """`(slot, start, end)` of every filler in one tag sequence."""
    start = 0
    for position in range(1, len(tags) + 1):
        if position < len(tags) and tags[position] > 0 and tags[position] % 2 == 0:
            continue
        if tags[start] > 0:
            yield int(tags[start] - 1) // 2, start, position
        start = position


def trimmed(start: int, end: int, looseness: Sequence[int]) -> tuple[int, int] | None:
    """The range of words, less those that no phrase begins or ends with (`windows.looseness`); none if nothing is left.

    One filler in seventy on `news/dev` is mended by it, half of those a lone article.
    """
    while start < end and looseness[start] == 3:
        start += 1
    while start < end and looseness[end - 1] >= 2:
        end -= 1
    return (start, end) if any(looseness[word] == 0 for word in range(start, end)) else None
