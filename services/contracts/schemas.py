"""JSON Schemas of the two messages: generated from the contracts, their codes taken from the taxonomy file.

`python -m services.contracts.schemas` writes them into `schemas/`; a test fails when they have drifted.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from .article import Article
from .event import Event
from .headers import ARTICLE_TYPE, EVENT_TYPE

# The data file, not the look-ups of `services.taxonomy`: this room imports nothing of ours.
SCHEMAS = Path(__file__).parents[2] / "schemas"


def article_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of an article's value on the articles topic."""
    return _schema(Article, ARTICLE_TYPE)


def event_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of an event's value on the events topic."""
    schema = _schema(Event, EVENT_TYPE)
    taxonomy = json.loads((SCHEMAS / "taxonomy.json").read_bytes())
    codes = taxonomy["plover"]
    event = schema["properties"]
    argument = schema["$defs"]["Argument"]["properties"]
    plover = schema["$defs"]["Plover"]["properties"]

    event["type"]["enum"] = _names(taxonomy["types"])
    event["realis"]["enum"] = _names(taxonomy["realis"])
    argument["role"]["enum"] = _names(taxonomy["slots"])
    plover["root"]["enum"] = _names(codes["roots"])
    plover["mode"]["anyOf"][0]["enum"] = sorted({mode for modes in codes["modes"].values() for mode in modes})
    plover["quad_class"]["enum"] = [int(code) for code in codes["quad_classes"]]

    event["time"] = _reserved("when the event takes place")
    event["place"] = _reserved("where the event takes place")
    argument["actor"] = _reserved("who the argument is")
    return schema


def _schema(message: type[msgspec.Struct], message_type: str) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([message], ref_template="#/$defs/{name}")
    for component in components.values():
        component["description"] = inspect.cleandoc(component["description"])
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tidings:{message_type}",
        **components.pop(message.__name__),
    }
    return schema | {"$defs": components} if components else schema


def _names(terms: list[dict[str, Any]]) -> list[str]:
    return [term["name"] for term in terms]


def _reserved(fact: str) -> dict[str, str]:
    return {"description": f"Reserved: a later version resolves {fact}."}


def main() -> None:
    for name, schema in {"article": article_schema(), "event": event_schema()}.items():
        (SCHEMAS / f"{name}.schema.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
