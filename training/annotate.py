"""Annotations without their texts, which may not be passed on: offsets, labels, and a hash of the passage they are for.

`python -m training.annotate --model DIR… --texts FILE --out FILE` lets trained models annotate plain articles, for a
smaller model to learn from.
"""

import argparse
import gzip
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from services.contracts import Article
from services.extractor.extractor import EventScores, Extractor, best_tags

from .corpus import GoldEvent, Passage, Span, read_passages
from .ensemble import load_ensemble

# A trigger that the models give less than the first is not mentioned; one between the two is marked as unsure.
# Set by judgement: half of the words in doubt are triggers, and neither answer should be taught.
DOUBTED, TRUSTED = 0.3, 0.6
ARTICLES_AT_ONCE = 8


class PlainArticle(msgspec.Struct, frozen=True):
    """An article without labels."""

    article: str
    text: str


class Annotation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The labels of `text[start:end]` of an article; their offsets count from `start`."""

    article: str
    start: int
    end: int
    digest: str
    events: list[GoldEvent]
    unsure: list[Span] = []


def read_articles(path: Path) -> Iterator[PlainArticle]:
    """Articles of a gzipped JSON Lines file. Raises msgspec.ValidationError where a line breaks the format."""
    with gzip.open(path, "rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=PlainArticle)


def read_annotations(path: Path, texts: Path) -> Iterator[Passage]:
    """Annotated passages, with their text. Raises ValueError where `texts` lacks an article or has another text."""
    articles = {article.article: article.text for article in read_articles(texts)}
    with gzip.open(path, "rb") as lines:
        for line in lines:
            made = msgspec.json.decode(line, type=Annotation)
            text = articles.get(made.article, "")[made.start : made.end]
            if _digest(text) != made.digest:
                raise ValueError(
                    f"{path} annotates {made.article} from {made.start} to {made.end}; {texts} has another text there: "
                    f"use the file that the annotations were made from"
                )
            yield Passage(
                id=f"{made.article}:{made.start}",
                text=text,
                article=made.article,
                events=made.events,
                unsure=made.unsure,
            )


def annotate(
    extractor: Extractor, articles: list[PlainArticle], known: Mapping[str, Sequence[Span]]
) -> Iterator[Annotation]:
    """One annotation for each window of the articles, but for those of which half is `known`: spans by article."""
    features = extractor.prepare([Article(id=article.article, text=article.text) for article in articles])
    features.windows = [
        window
        for window in features.windows
        if _overlap((window.starts[0], window.ends[-1]), known.get(articles[window.article].article, ()))
        < (window.ends[-1] - window.starts[0]) / 2
    ]
    found: list[list[tuple[EventScores, GoldEvent]]] = [[] for _ in features.windows]
    scores = extractor.infer(features)
    for event, tags in zip(scores, best_tags(scores), strict=True):
        window = features.windows[event.window]
        mention = extractor.mention(event, tags, window, features.sentences[window.article])
        offset = window.starts[0]
        slots: dict[str, list[Span]] = {}
        for filler in mention.fillers:
            slots.setdefault(filler.role, []).append((filler.start - offset, filler.end - offset))
        label = GoldEvent(
            trigger=(mention.trigger_start - offset, mention.trigger_end - offset),
            type=mention.type,
            plover=mention.root,
            mode=mention.mode,
            realis=mention.realis,
            slots=slots,
        )
        found[event.window].append((event, label))
    for window, labelled in zip(features.windows, found, strict=True):
        article, start, end = articles[window.article], window.starts[0], window.ends[-1]
        yield Annotation(
            article=article.article,
            start=start,
            end=end,
            digest=_digest(article.text[start:end]),
            events=[label for event, label in labelled if event.trigger >= TRUSTED],
            unsure=[label.trigger for event, label in labelled if event.trigger < TRUSTED and label.trigger],
        )


def _digest(text: str) -> str:
    # Sixteen hexadecimal digits tell a changed text as well as all 64 do.
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, nargs="+", help="model directories; several are averaged")
    parser.add_argument("--texts", type=Path, required=True, help="articles, gzipped JSON Lines: article, text")
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="corpus files: passages to leave out")
    parser.add_argument("--out", type=Path, required=True, help="annotations to write, gzipped; goes on where it ends")
    options = parser.parse_args()
    extractor = load_ensemble(options.model)
    extractor.threshold = DOUBTED
    articles = list(read_articles(options.texts))
    texts = {article.article: article.text for article in articles}
    known: dict[str, list[Span]] = {}
    for path in options.known:
        for passage in read_passages(path):
            start = texts.get(passage.article or "", "").find(passage.text)
            if start >= 0:
                known.setdefault(passage.article or "", []).append((start, start + len(passage.text)))
    if options.out.exists():
        with gzip.open(options.out, "rb") as lines:
            for line in lines:
                made = msgspec.json.decode(line, type=Annotation)
                known.setdefault(made.article, []).append((made.start, made.end))
    random.Random(0).shuffle(articles)  # so that a part is like the whole
    for first in range(0, len(articles), ARTICLES_AT_ONCE):
        fresh = annotate(extractor, articles[first : first + ARTICLES_AT_ONCE], known)
        with gzip.open(options.out, "ab") as out:
            out.write(b"".join(msgspec.json.encode(item) + b"\n" for item in fresh))
        print(f"{min(first + ARTICLES_AT_ONCE, len(articles))} of {len(articles)} articles", flush=True)


def _overlap(span: Span, others: Sequence[Span]) -> int:
    return sum(max(0, min(span[1], end) - max(span[0], start)) for start, end in others)


if __name__ == "__main__":
    main()
