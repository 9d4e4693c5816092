"""Sources to the articles topic: files, JSON Lines, standard input. kafka-python lives here; torch does not."""

from .publish import NotConfirmedError, Receipt, produce
from .sources import Refusal, read_articles

__all__ = ["NotConfirmedError", "Receipt", "Refusal", "produce", "read_articles"]
