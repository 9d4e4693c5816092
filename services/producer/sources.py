"""Sources to articles: text files with YAML front matter, JSON Lines, folders of those, standard input.

The text of an article is the file's, decoded as UTF-8 and stripped at both ends, with its own line ends: that is what
is published and what every offset counts in.
"""

import codecs
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import yaml
from frontmatter.default_handlers import YAMLHandler

from services.clients.topics import MAX_ARTICLE_BYTES
from services.contracts import Article

_FRONT_MATTER = YAMLHandler()
_BOUNDARY = YAMLHandler.FM_BOUNDARY
_JSON_LINES_SUFFIXES = {".json", ".jsonl"}
_FOLDER_SUFFIXES = {".txt", *_JSON_LINES_SUFFIXES}


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What could not become an article. `line` counts from 1; none where the whole source is meant."""

    source: str
    line: int | None = None
    reason: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{place}: {self.reason}"


def read_articles(paths: Iterable[Path | str]) -> Iterator[Article | Refusal]:
    """The articles of all sources in their order; `-` is standard input, in JSON Lines.

    A folder stands for its own .txt, .json and .jsonl files, by name. Nothing that is refused stops the rest.
    """
    for path in paths:
        try:
            if str(path) == "-":
                yield from _json_lines(sys.stdin.buffer, "standard input")
            else:
                yield from _path(Path(path))
        except OSError as error:
            yield Refusal(source=str(path), reason=f"cannot be read: {error.strerror}")


def _path(path: Path) -> Iterator[Article | Refusal]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _FOLDER_SUFFIXES)
        if not files:
            yield Refusal(source=str(path), reason="holds no .txt, .json or .jsonl file")
        for file in files:
            yield from _path(file)
    elif path.suffix in _JSON_LINES_SUFFIXES:
        with path.open("rb") as lines:
            yield from _json_lines(lines, str(path))
    else:
        yield _accepted(partial(_text_article, path.read_bytes(), path.stem), str(path))


def _json_lines(lines: BinaryIO, source: str) -> Iterator[Article | Refusal]:
    for number, line in enumerate(lines, start=1):
        record = line.removeprefix(codecs.BOM_UTF8).strip()
        if record:
            yield _accepted(partial(msgspec.json.decode, record, type=Article), source, number)


def _text_article(data: bytes, name: str) -> Article:
    """A text file: front matter between two lines of `---`, then the text. Without front matter its name is its id."""
    text = data.decode("utf-8-sig").strip()
    metadata: Any = {}
    # The handler by itself, since `frontmatter.parse` turns CRLF into LF and skips front matter that it cannot read.
    if _FRONT_MATTER.detect(text):
        if len(_BOUNDARY.findall(text)) < 2:
            raise ValueError("the front matter begins with a line of --- and does not end with one")
        header, text = _FRONT_MATTER.split(text)
        metadata = _FRONT_MATTER.load(header) or {}
    if not isinstance(metadata, dict):
        raise ValueError("the front matter is not a list of `name: value` lines")
    given = {field: value for field, value in metadata.items() if value is not None}
    if "published_at" in given:
        given["published_at"] = _in_utc(given["published_at"])
    return msgspec.convert({"id": name, **given, "text": text.strip()}, Article)


def _in_utc(value: Any) -> Any:
    """A date is its midnight; a time that names no zone is in UTC. Anything else is left to the contract."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value


def _accepted(read: Callable[[], Article], source: str, line: int | None = None) -> Article | Refusal:
    """The article, if it can be read, and is not too large to be published."""
    try:
        article = read()
        size = len(msgspec.json.encode(article))
    # msgspec's and Unicode's errors are ValueErrors; JSON or YAML can be nested too deeply for any reader.
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        return Refusal(source=source, line=line, reason=str(error))
    if size > MAX_ARTICLE_BYTES:
        return Refusal(
            source=source,
            line=line,
            reason=f"article {article.id} is too large: {size} bytes as JSON, the limit is {MAX_ARTICLE_BYTES}",
        )
    return article
