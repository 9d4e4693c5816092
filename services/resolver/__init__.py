"""Mentions to facts: time, place, actor. One file a resolver. Knows nothing of Kafka or torch; none is written yet."""
