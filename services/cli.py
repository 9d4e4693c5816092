"""The one command line. Rooms are imported inside the commands, so that each loads only what it needs."""

import sys
from typing import Annotated, NoReturn

import msgspec
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from .settings import Settings

app = typer.Typer(
    help="Live news in, structured events out, over Kafka.", no_args_is_help=True, pretty_exceptions_enable=False
)

# Articles extracted at once: enough windows for full batches, few enough that output appears as it is found.
_ARTICLES_AT_ONCE = 16


class Findings(msgspec.Struct, kw_only=True):
    """A line of `extract`: the events of one article, as they would be published."""

    id: str
    events: list[msgspec.Raw]


@app.command()
def extract(
    file: Annotated[str, typer.Argument(help="a file, or - for standard input")],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="one article a line, as JSON")] = False,
) -> None:
    """Find the events of texts, without Kafka: per article a line {"id", "events"}."""
    from services.contracts import Article
    from services.extractor.extractor import Extractor, ModelError
    from services.processor.assemble import assemble
    from services.producer import read_articles

    if file == "-" and not jsonl:
        articles: list[Article] = [Article(id="standard-input", text=sys.stdin.buffer.read().decode().strip())]
        refused = 0
    else:
        items = list(read_articles([file]))
        articles = [item for item in items if isinstance(item, Article)]
        for item in items:
            if not isinstance(item, Article):
                typer.echo(str(item), err=True)
        refused = len(items) - len(articles)
    try:
        extractor = Extractor.load(Settings().model_dir)
    except ModelError as error:
        _fail(str(error))
    for first in range(0, len(articles), _ARTICLES_AT_ONCE):
        batch = articles[first : first + _ARTICLES_AT_ONCE]
        for article, extraction in zip(batch, extractor.extract(batch), strict=True):
            events = assemble(article, extraction, extractor.model)
            findings = Findings(id=article.id, events=[msgspec.Raw(msgspec.json.encode(event)) for event in events])
            sys.stdout.buffer.write(msgspec.json.encode(findings) + b"\n")
        sys.stdout.buffer.flush()
    raise typer.Exit(1 if refused else 0)


@app.command()
def produce(
    paths: Annotated[list[str], typer.Argument(help="files or folders, or - for JSON Lines on standard input")],
    changed_only: Annotated[bool, typer.Option(help="only what the topic does not hold already")] = False,
) -> None:
    """Publish articles; prints a receipt as one line of JSON."""
    from kafka.errors import KafkaError

    from services.clients.kafka import KafkaUnavailableError, create_topics
    from services.producer import NotConfirmedError
    from services.producer import produce as publish

    settings = Settings()
    servers = settings.kafka_bootstrap_servers or f"127.0.0.1:{settings.broker_port}"
    try:
        create_topics(servers, partitions=settings.partitions)
        receipt = publish(paths, bootstrap_servers=servers, changed_only=changed_only)
    except (KafkaUnavailableError, NotConfirmedError, KafkaError) as error:
        _fail(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(receipt) + b"\n")
    raise typer.Exit(1 if receipt.refused else 0)


@app.command()
def config() -> None:
    """Every setting: its environment variable, its value, its default, what it means."""
    settings = Settings()
    table = Table("variable", "value", "default", "meaning", box=None)
    table.columns[0].no_wrap = True
    for name, field in Settings.model_fields.items():
        table.add_row(f"TIDINGS_{name.upper()}", str(getattr(settings, name)), str(field.default), field.description)
    Console().print(table)


def _fail(reason: str) -> NoReturn:
    typer.echo(reason, err=True)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line; a setting that is wrong is named in one sentence."""
    try:
        app()
    except ValidationError as error:
        problem = error.errors()[0]
        sys.exit(f"TIDINGS_{str(problem['loc'][0]).upper()}: {problem['msg']}")


if __name__ == "__main__":
    main()
