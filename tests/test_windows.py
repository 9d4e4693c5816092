from hypothesis import given, settings
from hypothesis import strategies as st

from services.extractor.windows import Features, casing, load_tokenizer, prepare, split_sentences
from services.settings import ROOT

TOKENIZER = load_tokenizer(str(ROOT / "models" / "tidings-small" / "tokenizer.json"))
UNICODE = st.text(
    st.one_of(st.sampled_from("ab. \n\r\t\x00’“”😀é́ אבג مرحبا"), st.characters(exclude_categories=["Cs"])), max_size=400
)


def windows_of(text: str, max_pieces: int = 64) -> Features:
    return prepare([text], TOKENIZER, max_pieces=max_pieces)


@given(text=UNICODE)
@settings(max_examples=200, deadline=None)
def test_every_word_lies_in_its_sentence_and_words_never_overlap(text: str) -> None:
    features = windows_of(text)
    end = 0
    for window in features.windows:
        for start, stop, sentence in zip(window.starts, window.ends, window.sentences, strict=True):
            assert end <= start < stop <= len(text)
            first, last = features.sentences[0][sentence]
            assert first <= start
            assert stop <= last
            end = stop


@given(text=UNICODE, max_pieces=st.integers(4, 40))
@settings(max_examples=200, deadline=None)
def test_no_window_is_larger_than_asked_and_no_word_is_lost_by_cutting(text: str, max_pieces: int) -> None:
    cut, whole = windows_of(text, max_pieces), windows_of(text, 100_000)
    assert all(len(window.pieces) <= max_pieces or len(window.starts) == 1 for window in cut.windows)
    assert [s for w in cut.windows for s in w.starts] == [s for w in whole.windows for s in w.starts]


@given(text=UNICODE)
def test_sentences_cover_everything_that_is_not_white_space(text: str) -> None:
    spans = split_sentences(text)
    covered = "".join(text[start:end] for start, end in spans)
    assert "".join(covered.split()) == "".join(text.split())
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)


def test_a_long_text_in_one_line_has_no_gaps_between_its_sentences() -> None:
    text = "The ministers met in Geneva. “It is over,” he said. U.S. officials left at 5 p.m. on Wednesday. " * 4000
    assert "".join("".join(text[s:e] for s, e in split_sentences(text)).split()) == "".join(text.split())


def test_words_are_split_from_their_punctuation_and_keep_the_offsets_of_the_text() -> None:
    text = "“Iran’s café 😀 deal,” he said."
    window = windows_of(text).windows[0]
    words = [text[start:end] for start, end in zip(window.starts, window.ends, strict=True)]
    assert words == ["“", "Iran", "’", "s", "café", "😀", "deal", ",", "”", "he", "said", "."]


def test_the_first_piece_of_a_word_stands_for_it() -> None:
    window = windows_of("Bagheri signed.").windows[0]
    pieces = [TOKENIZER.id_to_token(window.pieces[first]) for first in window.first_piece]
    assert pieces[1:] == ["signed", "."]
    assert not pieces[0].startswith("##")
    assert len(window.pieces) > 3


def test_a_window_holds_whole_sentences_while_they_fit() -> None:
    features = windows_of("One two three. Four five six. Seven eight nine.", max_pieces=9)
    assert [sorted(set(window.sentences)) for window in features.windows] == [[0, 1], [2]]


def test_casing_tells_what_an_uncased_encoder_cannot_see() -> None:
    assert [casing(word) for word in ("12", "talks", "Iran", "NATO", "iPhone", "A")] == [0, 1, 2, 3, 4, 2]
