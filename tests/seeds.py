"""The seed articles and their golden events, as tests read them."""

import json
from functools import cache
from typing import Any

from services.contracts import Article
from services.producer.sources import read_articles
from services.settings import ROOT


@cache
def seed_articles() -> list[Article]:
    articles = list(read_articles([ROOT / "seeds"]))
    assert all(isinstance(article, Article) for article in articles)
    return [article for article in articles if isinstance(article, Article)]


def golden(article: Article) -> dict[str, Any]:
    name = article.id.removeprefix("seed-")
    value: dict[str, Any] = json.loads((ROOT / "seeds" / "golden" / f"{name}.json").read_text())
    return value
