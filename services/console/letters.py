"""Dead letters as a person sees them."""

import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.contracts.headers import Headers
from services.logs import printable

from .dead_letters import Letter, as_text
from .errors import ConsoleError

# A pipe has no width: each letter on one line, for grep.
_PIPED_WIDTH = 300
_DONE = {"retry": "retried", "drop": "dropped"}


def show_letters(letters: list[Letter], *, as_json: bool) -> None:
    """A row of a table for each letter, or a line of JSON."""
    if as_json:
        for letter in letters:
            _write(msgspec.json.encode(letter) + b"\n")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    table = Table(
        "id", "UTC", "key", "stage", "attempt", "origin", "why", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns:
        column.overflow = "fold"  # an id or a key is copied from here: all of it
    for column in table.columns[:2]:
        column.no_wrap = True
    for letter in letters:
        done = f" ({_DONE.get(letter.done, letter.done)})" if letter.done else ""
        cells = (
            letter.id,
            f"{letter.time:%Y-%m-%d %H:%M:%S}",
            "(none)" if letter.key is None else letter.key,
            letter.stage,
            str(letter.attempt),
            str(letter.origin or "(unknown)"),
            f"{letter.exception}: {letter.message}{done}",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells), style="dim" if letter.done else "")
    console.print(table)


def show_letter(letter: Letter, headers: Headers, value: bytes | None, *, as_json: bool) -> None:
    """Everything of one letter. Bytes that are no UTF-8 are escaped; on the screen, control characters as well."""
    if as_json:
        told = msgspec.to_builtins(letter) | {
            "headers": [(name, as_text(content or b"")) for name, content in headers],
            "value": None if value is None else as_text(value),
        }
        _write(msgspec.json.encode(told) + b"\n")
        return
    facts = {
        "id": letter.id,
        "time": letter.time.isoformat(),
        "origin": str(letter.origin or "(unknown)"),
        "stage": letter.stage,
        "exception": letter.exception,
        "message": letter.message,
        "attempt": str(letter.attempt),
        "done": _DONE.get(letter.done, letter.done) if letter.done else "no",
        "key": "(none)" if letter.key is None else letter.key,
    }
    lines = list(facts.items())
    lines += [("header", f"{name}: {as_text(content or b'')}") for name, content in headers]
    console = Console(highlight=False, soft_wrap=True)
    for name, fact in lines:
        console.print(Text(f"{name:10}", style="bold") + Text(_escaped(fact)))
    console.print(Text("value", style="bold"))
    console.print(Text(_lost(letter) if value is None else _escaped(as_text(value))))


def write_value(letter: Letter, value: bytes | None) -> None:
    """The bytes of the value as they came, and nothing else.

    Raises:
        ConsoleError: it was left out, and is gone at its origin.
    """
    if value is None:
        raise ConsoleError(_lost(letter))
    _write(value)


def _lost(letter: Letter) -> str:
    return f"The value, {letter.left_out_bytes} bytes, was left out, and {letter.origin} does not have it any more."


def _escaped(text: str) -> str:
    """Lines and tabs as they are; what else a terminal would obey, or not show, as an escape."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
