from services.extractor.config import TidingsConfig
from services.extractor.extractor import Extractor
from services.extractor.windows import load_tokenizer
from services.settings import ROOT
from training.corpus import Complete, GoldEvent, Passage
from training.evaluate import evaluate
from training.examples import UNKNOWN, make_examples

TEXT = "Iran carried out a coup on Monday."
CONFIG = TidingsConfig(
    types=["conflict.attack", "personnel.end"],
    slots=["actor", "time"],
    realis=["asserted"],
    roots=["COERCE"],
    modes=["seize"],
)
TOKENIZER = load_tokenizer(str(ROOT / "models" / "tidings-small" / "tokenizer.json"))
COUP = GoldEvent(
    trigger=(5, 16), type="personnel.end", realis="asserted", slots={"actor": [(0, 4)], "time": [(27, 33), (24, 33)]}
)


def example(passage: Passage):  # type: ignore[no-untyped-def]
    return make_examples([passage], TOKENIZER, CONFIG)[0]


def test_every_word_of_a_trigger_has_its_type_and_all_but_the_first_continue_it() -> None:
    made = example(Passage(id="1", text=TEXT, events=[COUP]))
    assert made.types == [0, 2, 2, 0, 0, 0, 0, 0]
    assert made.continuation == [UNKNOWN, 0, 1, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_of_overlapping_fillers_the_first_is_tagged() -> None:
    made = example(Passage(id="1", text=TEXT, events=[COUP]))
    assert made.events[0].tags == [1, 0, 0, 0, 0, 0, 3, 0]


def test_a_null_root_means_none_only_where_roots_are_complete() -> None:
    assert example(Passage(id="1", text=TEXT, events=[COUP])).events[0].root == 0
    partial = Passage(id="1", text=TEXT, events=[COUP], complete=Complete(plover=False))
    assert example(partial).events[0].root == UNKNOWN


def test_an_unlabelled_word_is_unknown_where_the_source_does_not_annotate_all_triggers() -> None:
    partial = Passage(id="1", text=TEXT, events=[COUP], complete=Complete(triggers=False))
    assert example(partial).types == [UNKNOWN, 2, 2, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_given_triggers_are_labelled_whether_the_model_would_have_found_them_or_not() -> None:
    table = Passage(id="1", text="The table is round.", events=[GoldEvent(trigger=(4, 9), type="conflict.attack")])
    extractor = Extractor.load(ROOT / "models" / "tidings-small")
    assert evaluate(extractor, [table]).trigger.f1() == 0
    assert evaluate(extractor, [table], gold_triggers=True).trigger.f1() == 100
