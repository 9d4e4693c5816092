"""The command line. Each command imports what it needs, so that none waits for what another one needs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from services.logs import configure_logging
from services.processor.rejection import Stage
from services.settings import Settings, variable

if TYPE_CHECKING:
    from services.console.dead_letters import Action, Choice

app = typer.Typer(
    help="News articles in, structured events out, over Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

dlq = typer.Typer(help="Dead letters: show them, publish them again, mark them as done.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")

AsJson = Annotated[bool, typer.Option("--json", help="JSON Lines instead of a table.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID…", help="As `tidings dlq ls` shows them.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Only letters whose error has this in its text.")]
InStage = Annotated[Stage | None, typer.Option(help="Only letters that failed at this step.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only letters as late: ISO 8601, or so long ago (2h).")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only earlier letters.")]
AllLetters = Annotated[bool, typer.Option("--all-letters", help="All that are open.")]


@app.command()
def up(
    *,
    once: Annotated[bool, typer.Option("--once", help="End when the seeds are done.")] = False,
    as_json: AsJson = False,
    replay: Annotated[bool, typer.Option("--replay", help="Publish all seeds, not only new and changed ones.")] = False,
) -> None:
    """Start everything on this machine, publish the seeds, show the events as they arrive."""
    settings = _settings()

    from services.console.supervisor import EXPECTED_ERRORS, up

    with _explained(*EXPECTED_ERRORS):
        raise typer.Exit(up(settings, once=once, as_json=as_json, replay=replay))


@app.command()
def produce(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH…|-",
            help="Text files with front matter, JSON Lines, folders of both; - is JSON Lines on standard input.",
        ),
    ],
    *,
    changed_only: Annotated[
        bool, typer.Option("--changed-only", help="Leave out what the topic holds already, byte for byte.")
    ] = False,
) -> None:
    """Publish articles; print at the end how many, as a line of JSON."""
    settings = _settings()

    import msgspec

    from services.clients.kafka import KafkaUnavailableError, create_topics
    from services.producer import NotConfirmedError, produce

    with _explained(KafkaUnavailableError, NotConfirmedError):
        create_topics(settings.bootstrap_servers, partitions=settings.partitions)
        receipt = produce(paths, bootstrap_servers=settings.bootstrap_servers, changed_only=changed_only)
    print(msgspec.json.encode(receipt).decode())
    raise typer.Exit(1 if receipt.refused else 0)


@app.command()
def process() -> None:
    """Turn articles into events until stopped; standard error has the log."""
    settings = _settings()

    from services.processor.app import run_processor

    raise typer.Exit(run_processor(settings))


@app.command()
def tail(
    *,
    as_json: AsJson = False,
    from_start: Annotated[bool, typer.Option("--from-start", help="Show the events that are there, too.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show the events that are there, and end.")] = False,
) -> None:
    """Show events as they arrive, until Ctrl-C."""
    settings = _settings()

    from services.clients.kafka import KafkaUnavailableError
    from services.console.errors import ConsoleError
    from services.console.table import EventTable
    from services.console.tail import follow, show_json

    with _explained(ConsoleError, KafkaUnavailableError), suppress(KeyboardInterrupt):
        show = show_json if as_json else EventTable().show
        follow(settings.bootstrap_servers, show=show, from_start=from_start or once, once=once)


@app.command()
def extract(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A text with or without front matter.")],
    *,
    json_lines: Annotated[bool, typer.Option("--jsonl", help="FILE holds an article a line, as JSON.")] = False,
) -> None:
    """Extract events without Kafka; print a line of JSON for each article."""
    settings = _settings()

    from services.console.extract import extract
    from services.extractor.extractor import ModelError

    with _explained(ModelError, OSError):
        raise typer.Exit(extract(source, json_lines=json_lines, settings=settings))


@app.command()
def config() -> None:
    """Show every setting: its environment variable, value, default and meaning."""
    from services.console.configuration import show_configuration

    show_configuration(_settings())


@app.command()
def doctor() -> None:
    """Say what is wrong with this installation, and how to mend it."""
    from services.console.doctor import doctor

    raise typer.Exit(doctor(_settings()))


@dlq.command("ls")
def dlq_ls(
    *,
    reason: Reason = None,
    stage: InStage = None,
    since: Since = None,
    until: Until = None,
    done_too: Annotated[bool, typer.Option("--all", help="Those that were retried or dropped, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the dead letters that are open, newest last."""
    settings = _settings()

    from services.console.dead_letters import letters
    from services.console.letters import show_letters

    with _dead_letters_explained():
        chosen = _choice(reason=reason, stage=stage, since=since, until=until)
        show_letters(letters(settings.bootstrap_servers, chosen, done_too=done_too), as_json=as_json)


@dlq.command("show")
def dlq_show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As `tidings dlq ls` shows it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes of the value, and nothing else.")] = False,
) -> None:
    """Show all of one dead letter."""
    settings = _settings()

    from services.console.dead_letters import open_letter
    from services.console.letters import show_letter, write_value

    with _dead_letters_explained():
        letter, headers, value = open_letter(settings.bootstrap_servers, letter_id)
        if raw:
            write_value(letter, value)
        else:
            show_letter(letter, headers, value, as_json=as_json)


@dlq.command("retry")
def dlq_retry(
    ids: Ids = None,
    *,
    reason: Reason = None,
    stage: InStage = None,
    since: Since = None,
    until: Until = None,
    all_letters: AllLetters = False,
) -> None:
    """Publish dead letters again where they came from; print at the end how many, as a line of JSON."""
    _resolve("retry", ids, reason=reason, stage=stage, since=since, until=until, all_letters=all_letters)


@dlq.command("drop")
def dlq_drop(
    ids: Ids = None,
    *,
    reason: Reason = None,
    stage: InStage = None,
    since: Since = None,
    until: Until = None,
    all_letters: AllLetters = False,
) -> None:
    """Mark dead letters as done; print at the end how many, as a line of JSON."""
    _resolve("drop", ids, reason=reason, stage=stage, since=since, until=until, all_letters=all_letters)


@app.command()
def replay(
    *,
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="ISO 8601, or so long ago (2h).")],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Before this time; the same forms.")],
    as_json: AsJson = False,
) -> None:
    """Extract the articles of a time again, and show where their events differ from those that were published."""
    settings = _settings()

    from services.clients.kafka import KafkaUnavailableError
    from services.console.errors import ConsoleError
    from services.console.replay import replay
    from services.console.replay_report import show_replay
    from services.processor.errors import StartError

    with _explained(ConsoleError, KafkaUnavailableError, StartError):
        show_replay(replay(settings, since=since, until=until), as_json=as_json)


def main() -> None:
    """Run the command that the arguments name."""
    # A terminal that cannot show a letter shows a question mark instead of ending the command.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()


def _settings() -> Settings:
    """The settings in force, with logging configured by them; what is no setting ends the command."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = variable(str(problem["loc"][0]))
            print(f"error: {name} is {problem['input']!r}: {problem['msg']}", file=sys.stderr)
        raise typer.Exit(1) from error
    configure_logging(settings.log_level)
    return settings


@contextmanager
def _explained(*expected: type[Exception]) -> Iterator[None]:
    """An expected failure ends the command with its text, which says what to do, and status 1."""
    try:
        yield
    except BrokenPipeError:  # whoever read our output has read enough
        raise
    except expected as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


@contextmanager
def _dead_letters_explained() -> Iterator[None]:
    from services.clients.kafka import KafkaUnavailableError
    from services.console.errors import ConsoleError

    with _explained(ConsoleError, KafkaUnavailableError):
        yield


def _resolve(action: "Action", ids: list[str] | None, **choice: Any) -> None:
    settings = _settings()

    import msgspec

    from services.console.dead_letters import drop, retry

    with _dead_letters_explained():
        outcome = {"retry": retry, "drop": drop}[action](settings.bootstrap_servers, _choice(ids, **choice))
    print(msgspec.json.encode(outcome).decode())
    raise typer.Exit(1 if outcome.refused else 0)


def _choice(
    ids: list[str] | None = None, *, stage: Stage | None, all_letters: bool = False, **filters: str | None
) -> "Choice":
    from services.console.dead_letters import Choice

    return Choice(ids=ids or (), stage=stage and stage.value, all_letters=all_letters, **filters)


if __name__ == "__main__":
    main()
