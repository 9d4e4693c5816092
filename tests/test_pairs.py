from pathlib import Path

import pytest
import torch

from services.extractor.windows import load_tokenizer
from services.settings import ROOT
from training.corpus import GoldEvent, Passage
from training.pairs import SOURCE, TARGET, Pair, PairModel, load, mark, news_pairs, plv_pairs, report, save
from training.train import new_model

SHIPPED = ROOT / "models" / "tidings-small"
TOKENIZER = load_tokenizer(str(SHIPPED / "tokenizer.json"))
TEXT = "It rained. Iran accused Oman of spying."
ACCUSED = GoldEvent(
    trigger=(16, 23),
    type="statement.accuse",
    plover="ACCUSE",
    slots={"actor": [(11, 15)], "recipient": [(24, 28)]},
)
PAIR = Pair("Iran accused Oman of spying.", (0, 4), (13, 17), "ACCUSE")


def test_an_event_of_the_news_corpus_is_a_pair_in_its_own_sentence() -> None:
    assert list(news_pairs([Passage(id="1", text=TEXT, events=[ACCUSED])])) == [PAIR]


def test_an_actor_in_another_sentence_makes_no_pair() -> None:
    far = GoldEvent(trigger=(16, 23), plover="ACCUSE", slots={"actor": [(0, 2)], "recipient": [(24, 28)]})
    assert list(news_pairs([Passage(id="1", text=TEXT, events=[far])])) == []


def test_a_pair_with_two_roots_in_one_sentence_is_left_out() -> None:
    threat = GoldEvent(trigger=(32, 38), plover="THREATEN", slots=ACCUSED.slots)
    assert list(news_pairs([Passage(id="1", text=TEXT, events=[ACCUSED, threat])])) == []


def test_conceding_and_retreating_are_what_plv_calls_yielding() -> None:
    concession = GoldEvent(trigger=(16, 23), plover="CONCEDE", slots=ACCUSED.slots)
    assert [pair.root for pair in news_pairs([Passage(id="1", text=TEXT, events=[concession])])] == ["YIELD"]


def test_a_pair_of_plv_has_the_root_that_plv_gives_it() -> None:
    event = GoldEvent(source_type="YIELD", slots=ACCUSED.slots)
    [pair] = plv_pairs([Passage(id="1", text=TEXT, events=[event])])
    assert (pair.text, pair.root) == (TEXT, "YIELD")


def test_the_pieces_of_source_and_target_are_marked_and_no_others() -> None:
    assert mark(PAIR, TOKENIZER)[1] == [SOURCE, 0, TARGET, 0, 0, 0]


def test_a_span_outside_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="marks no word"):
        mark(Pair(PAIR.text, (90, 94), PAIR.target, "ACCUSE"), TOKENIZER)


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    torch.manual_seed(1)
    base, tokenizer_file = new_model(str(SHIPPED))
    model = PairModel(base, ["ACCUSE", "AID"])
    model.to(torch.bfloat16).float()  # what a saved model keeps of its weights
    save(model, tokenizer_file, tmp_path)
    loaded, tokenizer = load(tmp_path)
    window, sides = mark(PAIR, tokenizer)
    with torch.inference_mode():
        assert torch.equal(loaded.eval()([window], [sides]), model.eval()([window], [sides]))


def test_the_report_counts_what_was_right_by_root() -> None:
    aid = Pair(PAIR.text, PAIR.source, PAIR.target, "AID")
    assert report([PAIR, aid], ["ACCUSE", "ACCUSE"]).splitlines() == [
        "2 pairs, 2 roots; macro-F1 33.3, accuracy 50.0 per cent",
        "ACCUSE        66.7, 1",
        "AID            0.0, 1",
    ]
