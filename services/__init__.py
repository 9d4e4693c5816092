"""Tidings: live news in, structured events out, over Kafka. Each sub-package is a room; see docs/architecture.md."""
