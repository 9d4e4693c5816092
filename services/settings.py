"""One typed settings object. Every field is an environment variable with the prefix `TIDINGS_`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).parents[1]
Port = int


class Settings(BaseSettings):
    """Settings, each with its default and one line of meaning (`tidings config` prints them)."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_", frozen=True, env_ignore_empty=True)

    kafka_bootstrap_servers: str | None = Field(
        None, description="Kafka to use, host:port[,host:port]; unset, `up` starts an embedded one"
    )
    consumer_group: str = Field("tidings-processor", description="consumer group of the processor")
    partitions: PositiveInt = Field(4, description="partitions of a topic that `tidings` creates")
    data_dir: Path = Field(
        ROOT / "data", description="folder of the embedded broker's data and of all logs, for one `up` at a time"
    )
    broker_port: int = Field(9092, ge=1, le=65535, description="port of the embedded broker, on 127.0.0.1")
    seeds_dir: Path = Field(ROOT / "seeds", description="folder of the articles that `up` publishes")
    model_dir: Path = Field(ROOT / "models" / "tidings-small", description="folder of the model that extracts")
    batch_articles: PositiveInt = Field(32, description="articles that the processor takes at most at a time")
    batch_wait_seconds: PositiveFloat = Field(0.2, description="how long a batch waits for more articles")
    extraction_seconds: PositiveFloat = Field(
        180, description="how long half a megabyte of text may take the model before it is killed; a book in proportion"
    )
    drain_seconds: PositiveFloat = Field(
        60, description="how long a processor that is told to stop may finish its batch before it ends without"
    )
    stuck_seconds: PositiveFloat = Field(
        30, description="how long the processor's event loop may stand still before /live says no"
    )
    metrics_host: str = Field("127.0.0.1", description="address that metrics and probes are served on")
    metrics_port: int = Field(9464, ge=1, le=65535, description="port that metrics and probes are served on")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    @property
    def bootstrap_servers(self) -> str:
        """The Kafka to use: the one that is set, else the embedded one."""
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.broker_port}"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{Settings.model_config['env_prefix']}{name.upper()}"
