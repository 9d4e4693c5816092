"""The topics and the clients' options, against the running Kafka."""

import random

import faust
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from services.broker import free_port
from services.clients.kafka import (
    KafkaUnavailableError,
    client_options,
    create_topics,
    faust_options,
    producer_options,
    reachable_kafka,
)
from services.clients.topics import ARTICLES_TOPIC, DEAD_LETTER_TOPIC, MAX_ARTICLE_BYTES, MAX_RECORD_BYTES, TOPICS


def test_topics_have_the_limits_and_the_retention_that_we_state(kafka: str) -> None:
    with KafkaAdminClient(**client_options(kafka)) as admin:
        for topic in TOPICS:
            described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
            in_force = {name: setting["value"] for name, setting in described["topic"][topic.name].items()}
            assert in_force == topic.config()


def test_topics_that_exist_are_left_as_they_are(kafka: str) -> None:
    create_topics(kafka, partitions=9)
    with KafkaAdminClient(**client_options(kafka)) as admin:
        partitions = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    assert {name: partitions[name] for name in (topic.name for topic in TOPICS)} == {topic.name: 4 for topic in TOPICS}


def test_the_largest_article_fits_its_topic_and_with_error_headers_the_dead_letter_topic(kafka: str) -> None:
    value = random.Random(0).randbytes(MAX_ARTICLE_BYTES)  # does not compress
    with KafkaProducer(**producer_options(kafka)) as producer:
        article = producer.send(ARTICLES_TOPIC, key=b"k" * 2048, value=value, headers=[("ce_source", b"s" * 1024)])
        reason = [("__streams.errors.message", b"e" * 64 * 1024)]
        dead_letter = producer.send(DEAD_LETTER_TOPIC, key=b"k" * 2048, value=value, headers=reason)
        assert article.get().serialized_value_size == dead_letter.get().serialized_value_size == MAX_ARTICLE_BYTES


def test_a_kafka_that_is_not_there_is_named_with_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"
    with (
        pytest.raises(KafkaUnavailableError, match=rf"{address} .*refused.*TIDINGS_KAFKA_BOOTSTRAP_SERVERS"),
        reachable_kafka(address, seconds=0),
    ):
        pass


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":9092", "localhost:kafka", ""])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(KafkaUnavailableError, match=r"host:port"), reachable_kafka(address):
        pass


def test_faust_gets_the_same_addresses_and_limits() -> None:
    app = faust.App("tidings-test", **faust_options("one:9092,two:9093"))
    assert [str(url) for url in app.conf.broker] == ["kafka://one:9092", "kafka://two:9093"]
    assert app.conf.producer_compression_type == "gzip"
    assert app.conf.producer_acks == -1
    assert app.conf.producer_max_request_size == app.conf.consumer_max_fetch_size == MAX_RECORD_BYTES
