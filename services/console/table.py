"""Events as rows of a table that grows line by line: what has scrolled away stays readable, and a pipe gets it, too."""

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from services.contracts import Event
from services.logs import printable

from .tail import Arrival

# The least in which every column shows something; a narrower terminal wraps the rows.
_LEAST_WIDTH = 100
# A pipe has no width: room for most names in full, and still one line of a wide terminal.
_PIPED_WIDTH = 160

_HEADER = ("UTC", "type", "PLOVER", "who → whom or what", "where", "when", "realis", "conf")
# As wide as 16:00, government.legislate, COOPERATE; hypothetical, 0.94. The three columns between share the rest.
_LEFT, _RIGHT = (5, 20, 9), (12, 4)
# Of what they share, the part of the place and of the time each.
_PART = 0.22

# What is not asserted is no fact: it is written in capitals, in a colour of its own, and its row is dim.
_REALIS_STYLES = {
    "negated": "bold red",
    "alleged": "bold yellow",
    "hypothetical": "bold magenta",
    "future": "bold cyan",
    "historical": "bold blue",
}


class EventTable:
    """Prints its header when it is made, then a line for each article and a row for each of its events.

    The widths are those of the console at that moment.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console = console or Console(highlight=False)
        width = max(_LEAST_WIDTH, console.width) if console.is_terminal else _PIPED_WIDTH
        shared = width - sum(_LEFT) - sum(_RIGHT) - (len(_HEADER) - 1)
        part = int(_PART * shared)
        self._shared = (shared - 2 * part, part, part)
        self._article_id: str | None = None
        self._print([_cell(*pair, "bold") for pair in zip(_HEADER, (*_LEFT, *self._shared, *_RIGHT), strict=True)])

    def show(self, arrival: Arrival) -> None:
        """Print the event, after a line for its article if that is not the one before it."""
        event = arrival.event
        if event.article_id != self._article_id:
            self._article_id = event.article_id
            self._print([Text(_headline(event), style="bold underline")])
        self._print(self._row(event))

    def _row(self, event: Event) -> list[Text]:
        asserted = event.realis == "asserted"
        style = "" if asserted else "dim"
        published = event.article.published_at
        labels = (f"{published:%H:%M}" if published else "", event.type, event.plover.root if event.plover else "")
        place, time = _where(event), _fillers(event, "time")
        who_width, place_width, time_width = self._shared
        # An empty cell gives its room to the one before it.
        cells = []
        if time:
            cells.append(_cell(time, time_width, style))
        else:
            place_width += 1 + time_width
        if place:
            cells.append(_cell(place, place_width, style))
        else:
            who_width += 1 + place_width
        if asserted:
            realis = _cell("asserted", _RIGHT[0], "green")
        else:
            realis = _cell(event.realis.upper(), _RIGHT[0], _REALIS_STYLES.get(event.realis, "bold"))
        return [
            *(_cell(*pair, style) for pair in zip(labels, _LEFT, strict=True)),
            _deed(event, who_width, style),
            *reversed(cells),
            realis,
            _cell(f"{event.confidence:.2f}", _RIGHT[1], style),
        ]

    def _print(self, cells: list[Text]) -> None:
        row = Text(" ").join(cells)
        row.rstrip()
        # As it is: Rich would wrap it at the 80 columns that it supposes of a pipe.
        self._console.print(row, soft_wrap=True)


def _cell(value: str, width: int, style: str) -> Text:
    text = Text(printable(value), style=style)
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _headline(event: Event) -> str:
    """Date, publisher and title of the article, or its id."""
    article = event.article
    date = f"{article.published_at:%Y-%m-%d}" if article.published_at else ""
    return printable("  ".join(filter(None, (date, article.publisher, article.title or event.article_id))))


def _deed(event: Event, width: int, style: str) -> Text:
    """`who trigger → whom`; if there is no room for all, who and whom are cut, and the trigger stays."""
    who = printable(_fillers(event, "actor"))
    whom = printable(_fillers(event, "recipient") or _fillers(event, "object"))
    trigger = printable(event.trigger.text)
    room = width - cell_len(trigger) - (1 if who else 0) - (3 if whom else 0)
    who_width = min(cell_len(who), max(room // 2, room - cell_len(whom)))
    deed = Text(style=style)
    if who:
        deed.append_text(_cell(who, who_width, "")).append(" ")
    deed.append(trigger, "bold")
    if whom:
        deed.append(" → ").append(whom)
    deed.truncate(width, overflow="ellipsis", pad=True)
    return deed


def _where(event: Event) -> str:
    """The place, or for a movement where to or where from."""
    destination, origin = _fillers(event, "destination"), _fillers(event, "origin")
    return _fillers(event, "place") or (destination and f"to {destination}") or (origin and f"from {origin}")


def _fillers(event: Event, role: str) -> str:
    return ", ".join(argument.text for argument in event.arguments if argument.role == role)
