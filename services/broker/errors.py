"""What goes wrong with the embedded broker."""


class BrokerError(Exception):
    """The embedded broker cannot start. The text says why, and what to do."""
