"""Times as a person writes them."""

import re
from datetime import UTC, datetime, timedelta

from .errors import ConsoleError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """A time in ISO 8601, without an offset in UTC; or so long ago, as in `30m`.

    Raises:
        ConsoleError: it is neither.
    """
    try:
        if ago := re.fullmatch(r"(\d{1,9})([smhdw])", text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ConsoleError(
            f"{text!r} is no time. A time is ISO 8601, such as 2026-11-27, 2026-11-27T09:30 or "
            "2026-11-27T09:30:00+01:00 (UTC, if it has no offset), or so long ago: 30m, 2h, 7d, with the units s, m, "
            "h, d, w."
        ) from error


def optional_moment(text: str | None) -> datetime | None:
    """The same, where none is a time, too."""
    return None if text is None else moment(text)
