"""The first step: articles to windows of whole sentences, as arrays for the encoder. No model is needed here.

A *word* is what the tokenizer splits before it makes word pieces: a run of letters or digits, or one punctuation
mark. Labels are given to words; a word stands by its first piece.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import sentencex
from tokenizers import Tokenizer

# The news corpus that the model learns from has passages of 99 pieces in the median and 151 at the 99th percentile:
# a longer window would be unlike all it has seen, and attention costs more.
MAX_PIECES = 192

_LOOSE = {"the": 1, "a": 1, "an": 1, "-": 2} | dict.fromkeys((",", ";", ":", "and", "or", "but"), 3)


@dataclass(slots=True)
class Window:
    """Consecutive whole sentences of one article (or a part of a sentence that is longer than a window).

    Per piece: `pieces` (ids in the encoder's vocabulary, without special tokens) and `casings`. Per word: `first_piece`
    (index into `pieces`), `starts` and `ends` (code points of the body), `sentences` (index in the article),
    `looseness`.
    """

    article: int
    pieces: list[int] = field(default_factory=list)
    casings: list[int] = field(default_factory=list)
    first_piece: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    looseness: list[int] = field(default_factory=list)

    def sentence_words(self, word: int) -> tuple[int, int]:
        """The words `[first, end)` of this window that lie in the same sentence as `word`."""
        first = end = word
        while first > 0 and self.sentences[first - 1] == self.sentences[word]:
            first -= 1
        while end < len(self.sentences) and self.sentences[end] == self.sentences[word]:
            end += 1
        return first, end


@dataclass(slots=True)
class Features:
    """All windows of a batch of articles, and each article's sentences as `(start, end)` in code points of its body."""

    windows: list[Window]
    sentences: list[list[tuple[int, int]]]


def load_tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, with neither truncation nor padding: nothing is cut silently."""
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def prepare(bodies: Sequence[str], tokenizer: Tokenizer, *, max_pieces: int = MAX_PIECES) -> Features:
    """Cut every body into windows of at most `max_pieces` word pieces."""
    windows: list[Window] = []
    sentences: list[list[tuple[int, int]]] = []
    for article, body in enumerate(bodies):
        spans = split_sentences(body)
        sentences.append(spans)
        windows.extend(_windows(article, body, spans, tokenizer, max_pieces))
    return Features(windows=windows, sentences=sentences)


def split_sentences(body: str) -> list[tuple[int, int]]:
    """Sentences as `(start, end)`, without the white space around them; a sentence of white space is none."""
    spans = []
    # Only the ends are used: on long texts sentencex leaves gaps between its sentences, and no text may be skipped.
    ends = sorted({boundary["end_index"] for boundary in sentencex.get_sentence_boundaries("en", body)} | {len(body)})
    for start, end in pairwise([0, *ends]):
        surface = body[start:end]
        stripped = surface.strip()
        if stripped:
            first = start + len(surface) - len(surface.lstrip())
            spans.append((first, first + len(stripped)))
    return spans


def casing(word: str) -> int:
    """How a word is written, which an uncased encoder cannot see: none 0, lower 1, Capital 2, ALL CAPS 3, miXed 4."""
    if word.islower():
        return 1
    if word.isupper():
        return 3 if len(word) > 1 else 2
    if word.istitle():
        return 2
    return 4 if any(map(str.isalpha, word)) else 0


def looseness(word: str) -> int:
    """At which edges of a phrase a word can be.

    At both: 0. At both, but it is no phrase alone, an article: 1. Not at the end, a hyphen, which at the start may be a
    minus: 2. At neither: 3.
    """
    return _LOOSE.get(word.lower(), 0)


def _windows(
    article: int, body: str, spans: list[tuple[int, int]], tokenizer: Tokenizer, max_pieces: int
) -> Iterator[Window]:
    """Greedily: a sentence joins the window while it fits; one that no window can hold is cut between words."""
    window = Window(article)
    encodings = tokenizer.encode_batch([body[start:end] for start, end in spans], add_special_tokens=False)
    for index, ((offset, _), encoding) in enumerate(zip(spans, encodings, strict=True)):
        if window.pieces and len(window.pieces) + len(encoding.ids) > max_pieces:
            yield window
            window = Window(article)
        for pieces, start, end in _words(encoding.ids, encoding.word_ids, encoding.offsets):
            if len(window.pieces) + len(pieces) > max_pieces:
                yield window
                window = Window(article)
            window.first_piece.append(len(window.pieces))
            window.starts.append(offset + start)
            window.ends.append(offset + end)
            window.sentences.append(index)
            word = body[offset + start : offset + end]
            window.looseness.append(looseness(word))
            window.pieces.extend(pieces)
            window.casings.extend([casing(word)] * len(pieces))
    if window.pieces:
        yield window


def _words(
    ids: list[int], word_ids: list[int | None], offsets: list[tuple[int, int]]
) -> Iterator[tuple[list[int], int, int]]:
    """Join a sentence's pieces to words: `(piece ids, start, end)`, offsets from the sentence's start."""
    first = 0
    for index in range(1, len(ids) + 1):
        if index == len(ids) or word_ids[index] != word_ids[first]:
            yield ids[first:index], offsets[first][0], offsets[index - 1][1]
            first = index
