"""What a person must see to."""


class ConsoleError(Exception):
    """A command cannot start or go on. The text says why, and what to do."""
