import json
from typing import Any

import jsonschema
import pytest

from services.contracts.schemas import SCHEMAS, article_schema, event_schema


@pytest.mark.parametrize(("name", "generated"), [("article", article_schema()), ("event", event_schema())])
def test_the_published_schema_is_what_the_contracts_generate(name: str, generated: dict[str, Any]) -> None:
    published = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert published == generated
    jsonschema.Draft202012Validator.check_schema(published)


def test_resolved_facts_have_their_place_in_the_schema_of_an_event() -> None:
    schema = event_schema()
    assert {"time", "place"} <= schema["properties"].keys()
    assert "actor" in schema["$defs"]["Argument"]["properties"]


def test_an_article_without_an_id_breaks_the_schema() -> None:
    with pytest.raises(jsonschema.ValidationError, match="'id' is a required property"):
        jsonschema.validate({"text": "Text."}, article_schema())
