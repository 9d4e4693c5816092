"""The taxonomy file against the codebook that it states in other words."""

import re

import pytest

from services.settings import ROOT
from services.taxonomy import load_taxonomy

CODEBOOK = ROOT.parent / "shared" / "corpus" / "CODEBOOK.md"
TAXONOMY = load_taxonomy()
# Of a root's category; the codebook names no scores.
INTENSITIES = {
    "AGREE": 2.5,
    "CONSULT": 2.5,
    "SUPPORT": 5,
    "CONCEDE": 4.5,
    "COOPERATE": 9.5,
    "AID": 10,
    "RETREAT": 6.5,
    "REQUEST": 0,
    "ACCUSE": -3,
    "REJECT": -2,
    "THREATEN": -3.5,
    "PROTEST": -5,
    "SANCTION": -6,
    "MOBILIZE": -5.5,
    "COERCE": -7,
    "ASSAULT": -9,
}


@pytest.fixture(scope="module")
def codebook() -> str:
    if not CODEBOOK.exists():
        pytest.skip("the codebook is not beside the repository: ../shared/corpus/CODEBOOK.md")
    return CODEBOOK.read_text()


def section(codebook: str, title: str) -> str:
    """The text from a heading to the next one."""
    _, found, rest = codebook.partition(title)
    assert found, f"the codebook has no {title!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its header."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_the_version_is_the_codebook_s(codebook: str) -> None:
    assert f"version {TAXONOMY.version}" in codebook.splitlines()[0]


def test_the_types_are_the_codebook_s_in_its_order_with_its_default_roots(codebook: str) -> None:
    types = rows(section(codebook, "## 2. Types"))
    assert len(types) == 49
    assert [kind.name for kind in TAXONOMY.types] == [name for name, _, _ in types]
    roots = {root.name for root in TAXONOMY.plover.roots}
    for kind, (name, _, plover) in zip(TAXONOMY.types, types, strict=True):
        # A cell that begins with a dash has no default; what a cell gives under a condition need not be one.
        unconditional = re.match(r"[A-Z]+$", plover)
        named = set(re.findall(r"[A-Z]{3,}", plover)) & roots
        assert kind.plover in ({plover} if unconditional else {None} if plover.startswith("–") else named | {None}), (
            name
        )


def test_definitions_are_in_our_own_words(codebook: str) -> None:
    for kind, (_, covers, _) in zip(TAXONOMY.types, rows(section(codebook, "## 2. Types")), strict=True):
        assert kind.definition.strip(".").lower() != covers.lower()


def test_the_quad_class_of_each_root_is_the_codebook_s(codebook: str) -> None:
    text = " ".join(section(codebook, "### PLOVER root").split())
    classes = re.findall(r"((?:[A-Z]{3,} )+)= (\d)", text)
    expected = {root: int(number) for names, number in classes for root in names.split()}
    assert len(expected) == 16
    assert {root.name: root.quad_class for root in TAXONOMY.plover.roots} == expected
    for number, name in TAXONOMY.plover.quad_classes.items():
        assert f"{number} {name}" in text.replace("= ", "")


def test_the_modes_of_each_root_are_the_codebook_s(codebook: str) -> None:
    text = " ".join(section(codebook, "### Mode").split())
    expected = {
        root.strip(): modes.split()
        for roots, modes in re.findall(r"([A-Z]{3,}(?:, [A-Z]{3,})*): ([a-z -]+)", text)
        for root in roots.split(",")
    }
    assert TAXONOMY.plover.modes == expected


def test_the_intensities_are_those_of_the_categories() -> None:
    assert {root.name: root.intensity for root in TAXONOMY.plover.roots} == INTENSITIES


@pytest.mark.parametrize(("title", "terms"), [("## 3. Realis", TAXONOMY.realis), ("## 4. Slots", TAXONOMY.slots)])
def test_realis_values_and_slots_are_the_codebook_s(codebook: str, title: str, terms: list) -> None:
    names = [name for cell, _ in rows(section(codebook, title)) for name in cell.split(", ")]
    assert [term.name for term in terms] == names
