"""Real Apache Kafka, embedded, for one machine: downloaded once, one node on 127.0.0.1. For `console` and tests."""

from .embedded import EmbeddedBroker, free_port
from .errors import BrokerError

__all__ = ["BrokerError", "EmbeddedBroker", "free_port"]
