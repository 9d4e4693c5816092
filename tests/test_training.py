import gzip
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from services.contracts import Article
from services.extractor.config import TidingsConfig
from services.extractor.extractor import Extractor
from services.extractor.windows import load_tokenizer
from services.settings import ROOT
from services.taxonomy import load_taxonomy
from training.annotate import PlainArticle, annotate, read_annotations
from training.corpus import Complete, GoldEvent, Passage
from training.ensemble import load_ensemble
from training.evaluate import evaluate
from training.examples import UNKNOWN, make_examples
from training.source import read_mapping, relabelled

TEXT = "Iran carried out a coup on Monday."
CONFIG = TidingsConfig(
    types=["conflict.attack", "personnel.end"],
    slots=["actor", "time"],
    realis=["asserted"],
    roots=["COERCE"],
    modes=["seize"],
)
SHIPPED = ROOT / "models" / "tidings-small"
TOKENIZER = load_tokenizer(str(SHIPPED / "tokenizer.json"))
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


def test_a_word_that_may_be_a_trigger_is_not_taught_either_way() -> None:
    made = example(Passage(id="1", text=TEXT, unsure=[(5, 16)]))
    assert made.types == [0, UNKNOWN, UNKNOWN, 0, 0, 0, 0, 0]


def test_a_model_averaged_with_itself_says_what_it_says_alone() -> None:
    articles = [Article(id="1", text=f"{TEXT} The president fled to Oman, officials said.")]
    alone, twice = load_ensemble([SHIPPED]), load_ensemble([SHIPPED, SHIPPED])
    twice.threshold, twice.calibration = alone.threshold, alone.calibration
    [expected], [made] = alone.extract(articles), twice.extract(articles)
    assert expected.mentions
    assert [structs.replace(mention, confidence=0, fillers=[]) for mention in made.mentions] == [
        structs.replace(mention, confidence=0, fillers=[]) for mention in expected.mentions
    ]


def test_annotations_carry_labels_to_the_same_text_and_refuse_another(tmp_path: Path) -> None:
    article = PlainArticle(article="a", text=f"   {TEXT}")
    made = list(annotate(load_ensemble([SHIPPED]), [article], {}))
    assert all(TEXT not in msgspec.json.encode(annotation).decode() for annotation in made)
    annotations, texts, other = tmp_path / "annotations.gz", tmp_path / "texts.gz", tmp_path / "other.gz"
    annotations.write_bytes(gzip.compress(b"\n".join(map(msgspec.json.encode, made))))
    texts.write_bytes(gzip.compress(msgspec.json.encode(article)))
    [passage] = read_annotations(annotations, texts)
    assert passage.text == TEXT
    assert [TEXT[slice(*event.trigger)] for event in passage.events if event.trigger] == ["coup"]
    other.write_bytes(gzip.compress(msgspec.json.encode(PlainArticle(article="a", text=TEXT))))
    with pytest.raises(ValueError, match="use the file that the annotations were made from"):
        list(read_annotations(annotations, other))


def test_a_public_set_can_be_scored_by_its_own_labels_through_a_mapping() -> None:
    text = "The shelling of Aleppo killed nine people."
    event = GoldEvent(trigger=(4, 12), source_type="Conflict.Attack.Unspecified", source_roles=[("Place", 16, 22)])
    passage = relabelled(Passage(id="1", text=text, events=[event]))
    assert [event.type for event in passage.events] == ["Conflict.Attack"]
    mapping = read_mapping(ROOT / "training" / "mappings" / "wikievents.json")
    scores = evaluate(Extractor.load(SHIPPED), [passage], gold_triggers=True, mapping=mapping)
    assert scores.trigger_classification.f1() == 100
    assert scores.argument_classification.recall() == 100


def test_every_mapping_speaks_of_types_and_slots_of_the_taxonomy() -> None:
    taxonomy = load_taxonomy()
    for path in (ROOT / "training" / "mappings").glob("*.json"):
        mapping = read_mapping(path)
        assert set(mapping.types) <= {kind.name for kind in taxonomy.types}
        assert {slot for roles in mapping.roles.values() for slot in roles} <= {slot.name for slot in taxonomy.slots}
        assert set(mapping.roles) == set(mapping.types.values())


def test_what_is_annotated_already_is_left_out() -> None:
    article = PlainArticle(article="a", text=TEXT)
    assert list(annotate(load_ensemble([SHIPPED]), [article], {"a": [(0, 20)]})) == []
    assert len(list(annotate(load_ensemble([SHIPPED]), [article], {"a": [(0, 10)], "b": [(0, 20)]}))) == 1


def test_given_types_are_taken_whatever_the_model_believes() -> None:
    gift = Passage(id="1", text="The table is round.", events=[GoldEvent(trigger=(4, 9), type="transaction.pay")])
    assert evaluate(Extractor.load(SHIPPED), [gift], gold_types=True).type.f1() == 100


def test_given_triggers_are_labelled_whether_the_model_would_have_found_them_or_not() -> None:
    table = Passage(id="1", text="The table is round.", events=[GoldEvent(trigger=(4, 9), type="conflict.attack")])
    extractor = Extractor.load(SHIPPED)
    assert evaluate(extractor, [table]).trigger.f1() == 0
    assert evaluate(extractor, [table], gold_triggers=True).trigger.f1() == 100
