"""The differences that a replay finds, as a person or a program reads them."""

import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.text import Text

from services.contracts import Event
from services.logs import printable

from .differences import Change, Difference
from .replay import Rejected, Summary

_STYLES = {Change.NEW: "green", Change.GONE: "red", Change.CHANGED: "yellow"}


def show_replay(findings: Iterable[Difference | Rejected | Summary], *, as_json: bool) -> None:
    """A line for each finding, as it comes: JSON, or text. The last one is the summary."""
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        if as_json:
            sys.stdout.buffer.write(_json(finding) + b"\n")
            sys.stdout.buffer.flush()
        else:
            console.print(_line(finding))


def _json(finding: Difference | Rejected | Summary) -> bytes:
    if isinstance(finding, Summary):
        return msgspec.json.encode({"summary": finding})
    if isinstance(finding, Rejected):
        return msgspec.json.encode({"rejected": finding})
    ids = {"article_id": finding.event.article_id, "event_id": finding.event.event_id}
    return msgspec.json.encode(ids | msgspec.to_builtins(finding))


def _line(finding: Difference | Rejected | Summary) -> Text:
    if isinstance(finding, Summary):
        return Text(
            f"{finding.new} new, {finding.gone} gone, {finding.changed} changed, {finding.unchanged} unchanged events "
            f"in {finding.articles} articles ({finding.skipped} skipped, {finding.rejected} rejected), "
            f"by {finding.model} {finding.model_revision}"
        )
    if isinstance(finding, Rejected):
        place = f"partition {finding.partition}, offset {finding.offset}"
        why = printable(f"{finding.exception}: {finding.message}")
        return Text("rejected ", style="bold red") + Text(f"{place}  {finding.stage}  {why}", style="")
    event = finding.event
    line = Text(f"{finding.change.value:8} ", style=_STYLES[finding.change])
    line.append(printable(f"{event.article_id}  {event.type} “{event.trigger.text}”"), style="")
    if finding.before and finding.after:
        told = (f"{name}: {_told(finding.before, name)} → {_told(finding.after, name)}" for name in finding.fields)
        line.append(printable("  " + "; ".join(told)), style="")
    return line


def _told(event: Event, field: str) -> str:
    """A field's value in a few words."""
    if field == "arguments":
        return ", ".join(f"{argument.role} “{argument.text}” {argument.confidence:.2f}" for argument in event.arguments)
    if field == "plover":
        return f"{event.plover.root}/{event.plover.mode}" if event.plover else "none"
    if field == "article":
        return event.article.title
    if field in ("trigger", "sentence"):
        return str(getattr(event, field).text)
    return str(getattr(event, field))
