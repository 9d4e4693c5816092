"""How every Kafka client of ours is made: addresses, codecs, limits, names."""
