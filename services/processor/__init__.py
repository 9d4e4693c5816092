"""Articles to events. `assemble` is used without Kafka, too, and imports neither faust nor torch."""
