"""`tidings config`: every setting, its environment variable, its value, its meaning."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.settings import Settings, variable

# A pipe has no width: each setting on one line, for grep.
_PIPED_WIDTH = 300


def show_configuration(settings: Settings) -> None:
    """Print a table of the settings in force. A setting is called like its variable, without the prefix."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    table = Table("environment variable", "value", "default", "meaning", box=None, header_style="bold", pad_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns:
        column.overflow = "fold"  # a long path is shown to its end
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        changed = value != field.default
        table.add_row(
            variable(name),
            Text(_shown(value), style="bold" if changed else ""),
            Text(_shown(field.default) if changed else "the same", style="" if changed else "dim"),
            field.description,
        )
    console.print(table)


def _shown(value: object) -> str:
    return "(not set)" if value is None else str(value)
