"""What keeps the processor from starting."""


class StartError(Exception):
    """The processor cannot start. The text says why, and what to do."""
