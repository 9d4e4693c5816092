"""Text to event mentions: the model, its decoding, its batching. torch and transformers live here only.

Knows nothing of Kafka, of Faust, of gazetteers.
"""
