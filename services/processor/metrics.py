"""What Prometheus scrapes of the processor."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from services.taxonomy import load_taxonomy

from .rejection import Stage

# A second series for each counter, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From one short article on a fast processor to a batch of books on a slow one.
_EXTRACTION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# From a live stream to a backlog of a day.
_AGE_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)


OUTCOMES = ("extracted", "empty", "skipped_language", "dead_lettered")


class Metrics:
    """All metrics of the processor, in one registry.

    Counters begin at 0 with every label: a series that begins at 1 has no increase, and an alert would miss the first
    dead letter.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.articles = Counter(
            "tidings_articles_total",
            f"Articles that are done with: {', '.join(OUTCOMES)}",
            ["outcome"],
            registry=registry,
        )
        self.events = Counter("tidings_events_total", "Events published", ["type"], registry=registry)
        self.dead_letters = Counter(
            "tidings_dead_letters_total", "Records set aside: read, extract, assemble", ["stage"], registry=registry
        )
        for outcome in OUTCOMES:
            self.articles.labels(outcome)
        for kind in load_taxonomy().types:
            self.events.labels(kind.name)
        for stage in Stage:
            self.dead_letters.labels(stage.value)
        self.extraction_seconds = Histogram(
            "tidings_extraction_seconds",
            "Time to extract a batch",
            buckets=_EXTRACTION_BUCKETS,
            registry=registry,
        )
        self.batch_articles = Histogram(
            "tidings_batch_articles", "Articles extracted at a time", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.article_age_seconds = Histogram(
            "tidings_article_age_seconds",
            "From an article's arrival in Kafka until its events are published",
            buckets=_AGE_BUCKETS,
            registry=registry,
        )
        self.extractor_restarts = Counter(
            "tidings_extractor_restarts_total", "Extractor processes that died and were replaced", registry=registry
        )
        self.kafka_refusals = Counter(
            "tidings_kafka_refusals_total",
            "Records that Kafka did not take, each time that one was sent",
            registry=registry,
        )
        self.waiting_for_kafka = Gauge(
            "tidings_waiting_for_kafka", "1 while records are sent again that Kafka has not taken", registry=registry
        )
        self.model_info = Gauge(
            "tidings_model_info",
            "The model that extracts",
            ["model", "revision", "taxonomy_version"],
            registry=registry,
        )
        self.articles_in_flight = Gauge(
            "tidings_articles_in_flight", "Articles taken and not yet acknowledged", registry=registry
        )
        self.consumer_lag = Gauge(
            "tidings_consumer_lag", "Records behind the end of a partition", ["partition"], registry=registry
        )
