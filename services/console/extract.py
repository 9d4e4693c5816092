"""`tidings extract`: articles in, events out, without Kafka."""

import codecs
import logging
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.contracts import Article, Event
from services.extractor.extractor import Extractor
from services.processor.assemble import assemble
from services.processor.intake import Skip, read
from services.processor.rejection import Rejection
from services.producer import Refusal, read_articles
from services.settings import Settings

logger = logging.getLogger(__name__)

_NOTES = {Skip.EMPTY: "is empty", Skip.LANGUAGE: "is not in English"}


class Skipped(NamedTuple):
    """An article without events, and why."""

    article_id: str
    reason: Skip


def extract(source: str, *, json_lines: bool, settings: Settings) -> int:
    """Write a line `{"id", "events"}` to standard output for each article of a file; `-` is standard input.

    The exit status: 1 if something was no article, else 0. What is wrong is logged, and the rest is read all the same.

    Raises:
        ModelError: the model cannot be used.
        OSError: the file cannot be read.
    """
    source = "/dev/stdin" if source == "-" else source
    readings = _json_lines(source) if json_lines else _texts(source)
    extractor = Extractor.load(settings.model_dir)
    status = 0
    while batch := list(islice(readings, settings.batch_articles)):
        extractions = iter(extractor.extract([reading for reading in batch if isinstance(reading, Article)]))
        for reading in batch:
            if isinstance(reading, Article):
                _write(reading.id, assemble(reading, next(extractions), extractor.model))
            elif isinstance(reading, Skipped):
                logger.warning("article %s %s: no events", reading.article_id, _NOTES[reading.reason])
                _write(reading.article_id, [])
            else:
                logger.error("%s", reading)
                status = 1
    return status


def _texts(source: str) -> Iterator[Article | Skipped | Refusal]:
    """A text file, as `produce` reads it; a folder or a .jsonl file, too."""
    for item in read_articles([source]):
        yield item if isinstance(item, Refusal) else _reading(msgspec.json.encode(item), source)


def _json_lines(source: str) -> Iterator[Article | Skipped | Refusal]:
    with Path(source).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            value = line.removeprefix(codecs.BOM_UTF8).strip()
            if value:
                yield _reading(value, source, number)


def _reading(value: bytes, source: str, line: int | None = None) -> Article | Skipped | Refusal:
    """What the processor would make of it."""
    reading = read(value)
    if isinstance(reading, Rejection):
        return Refusal(source=source, line=line, reason=reading.message)
    if isinstance(reading, Skip):
        return Skipped(msgspec.json.decode(value, type=Article).id, reading)
    return reading


def _write(article_id: str, events: list[Event]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode({"id": article_id, "events": events}) + b"\n")
    sys.stdout.buffer.flush()
