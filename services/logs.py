"""Logs, on standard error: lines for a person on a terminal, JSON lines for a machine anywhere else."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


def configure_logging(level: str) -> None:
    """Log what is at least at `level` (`INFO`, …) from our code. Libraries are heard from WARNING on, or at DEBUG."""
    handler = logging.StreamHandler()  # to standard error
    handler.setFormatter(_terminal_formatter() if sys.stderr.isatty() else _json_formatter())
    # What libraries say at INFO (each connection, each partition) is about themselves.
    libraries = "WARNING" if level == "INFO" else level
    logging.basicConfig(level=libraries, handlers=[handler], force=True)
    logging.getLogger("services").setLevel(level)
    logging.captureWarnings(True)


def printable(text: str) -> str:
    """Text in one line as a terminal may show it: a control character of an article must not reach the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split())
    )


class _TerminalFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        record.message = printable(record.message)
        return super().formatMessage(record)


def _terminal_formatter() -> logging.Formatter:
    return _TerminalFormatter("{asctime} {levelname:7} {message}", datefmt="%H:%M:%S", style="{")


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        "{levelname}{name}{message}",
        style="{",
        timestamp="time",
        rename_fields={"levelname": "level", "name": "logger"},
        json_ensure_ascii=False,
    )
