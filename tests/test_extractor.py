import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts import Article
from services.extractor.extractor import Extractor, ModelError
from services.extractor.mention import Extraction, Mention
from services.settings import ROOT

MODEL = ROOT / "models" / "tidings-small"
STRIKES = "Israeli warplanes bombed a weapons depot near Damascus on Wednesday, killing three soldiers."
PACT = "Iran and Syria signed a military pact in Tehran."


@cache
def extractor() -> Extractor:
    return Extractor.load(MODEL)


def extract(*texts: str) -> list[Extraction]:
    return extractor().extract([Article(id=str(index), text=text) for index, text in enumerate(texts)])


def only(mentions: list[Mention], kind: str) -> Mention:
    (mention,) = [mention for mention in mentions if mention.type == kind]
    return mention


def fillers(text: str, mention: Mention, role: str) -> list[str]:
    return [text[filler.start : filler.end] for filler in mention.fillers if filler.role == role]


def test_an_unmistakable_air_strike_is_found_with_its_attacker_and_its_place() -> None:
    mention = only(extract(STRIKES)[0].mentions, "conflict.attack")
    assert STRIKES[mention.trigger_start : mention.trigger_end] == "bombed"
    assert (mention.root, mention.realis) == ("ASSAULT", "asserted")
    assert fillers(STRIKES, mention, "actor") == ["Israeli warplanes"]
    assert "Damascus" in " ".join(fillers(STRIKES, mention, "place"))
    assert fillers(STRIKES, mention, "time") == ["Wednesday"]


def test_all_sides_of_an_agreement_are_its_actors() -> None:
    mention = only(extract(PACT)[0].mentions, "diplomacy.agree")
    assert fillers(PACT, mention, "actor") == ["Iran", "Syria"]


def test_each_article_gets_its_own_mentions_in_the_order_given() -> None:
    strikes, nothing, pact = extract(STRIKES, "", PACT)
    assert "conflict.attack" in {mention.type for mention in strikes.mentions}
    assert nothing == Extraction(mentions=[], chars_read=0)
    assert "diplomacy.agree" in {mention.type for mention in pact.mentions}


def test_what_is_found_in_an_article_does_not_depend_on_its_neighbours() -> None:
    def labels(extraction: Extraction) -> list[tuple[str, str, int, int]]:
        return [(m.type, m.realis, m.trigger_start, m.trigger_end) for m in extraction.mentions]

    alone = extract(STRIKES)[0]
    crowded = extract(*[PACT * 9] * 40, STRIKES)[-1]
    assert labels(alone) == labels(crowded)


def test_an_article_of_300_pages_is_read_to_its_end() -> None:
    filler = "The committee published its usual annual summary of the archive and its holdings. "
    text = filler * 8000 + STRIKES
    extraction = extract(text)[0]
    assert extraction.chars_read == len(text)
    assert extraction.mentions[-1].trigger_start > len(text) - len(STRIKES)


def test_an_article_without_text_is_read_by_its_title() -> None:
    (extraction,) = extractor().extract([Article(id="1", title=STRIKES)])
    assert extraction.chars_read == len(STRIKES)
    assert "conflict.attack" in {mention.type for mention in extraction.mentions}


@given(
    text=st.lists(st.sampled_from([STRIKES, PACT, "😀", "\r\n", "\x00", "مرحبا", "é́", "\u202e", "x" * 300])).map(
        " ".join
    )
)
@settings(max_examples=20, deadline=None)
def test_offsets_hold_in_any_unicode_text(text: str) -> None:
    (extraction,) = extract(text)
    assert extraction.chars_read == len(text)
    for mention in extraction.mentions:
        assert 0 <= mention.sentence_start <= mention.trigger_start < mention.trigger_end <= mention.sentence_end
        for filler in mention.fillers:
            assert text[filler.start : filler.end] == text[filler.start : filler.end].strip() != ""


def copy_of_model(folder: Path) -> Path:
    shutil.copytree(MODEL, folder / "model")
    return folder / "model"


def test_a_model_whose_weights_are_not_the_described_ones_is_refused(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path)
    with (model / "model.safetensors").open("ab") as weights:
        weights.write(b"x")
    with pytest.raises(ModelError, match="fetch them again"):
        Extractor.load(model)


def test_a_model_of_another_taxonomy_is_refused(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path)
    card = json.loads((model / "tidings.json").read_text())
    (model / "tidings.json").write_text(json.dumps({**card, "taxonomy_version": "0.9"}))
    with pytest.raises(ModelError, match=r"taxonomy 0\.9"):
        Extractor.load(model)


def test_a_model_whose_confidence_has_other_features_is_refused(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path)
    card = json.loads((model / "tidings.json").read_text())
    (model / "tidings.json").write_text(json.dumps({**card, "calibration": {"event": [0.0], "argument": []}}))
    with pytest.raises(ModelError, match=r"training\.calibration"):
        Extractor.load(model)


def test_a_folder_without_a_model_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="TIDINGS_MODEL_DIR"):
        Extractor.load(tmp_path)
