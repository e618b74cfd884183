"""Settings of every process: flag over environment over ``.env`` file; prefix ``SKYSAIL_``, nested by ``__``.

Only the processes' entry points import this module; the rest of `skysail.topics` is told what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from skysail.topics.artifacts import read_key
from skysail.topics.names import check_name

__all__ = [
    "AdminSettings",
    "ArtifactSettings",
    "FrontendSettings",
    "KafkaSettings",
    "RedisSettings",
    "Settings",
    "WorkerSettings",
]


class KafkaSettings(BaseModel):
    """Any librdkafka property, upper-case with underscores for dots: ``SKYSAIL_KAFKA__SASL_MECHANISM=PLAIN``.

    The broker cannot be told a property by its dotted name through the environment, so names map back by replacing
    ``_`` with ``.``; the few properties that hold underscores themselves may be given as JSON in
    ``SKYSAIL_KAFKA__PROPERTIES``.
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    properties: dict[str, str | int | float | bool] = Field(default_factory=dict)
    replication_factor: int = Field(default=-1, description="of topics that Skysail creates; -1: the broker's default")

    model_config = {"extra": "allow"}

    def librdkafka(self) -> dict[str, Any]:
        """The properties for a confluent-kafka client."""
        extra = {name.replace("_", "."): value for name, value in (self.model_extra or {}).items()}
        return {"bootstrap.servers": self.bootstrap_servers, **extra, **self.properties}


class RedisSettings(BaseModel):
    """Where the reply and cache store is; ``rediss://`` for TLS."""

    url: str = "redis://127.0.0.1:6379/0"


class ArtifactSettings(BaseModel):
    """Where model artifacts are, and the key that signs them."""

    path: Path = Path("artifacts")
    signing_key: SecretStr | None = None
    signing_key_file: Path | None = None

    def key(self) -> bytes | None:
        """The signing key, or None when artifacts are not signed; an empty text is no key.

        Raises:
            ArtifactError: when the file that is named cannot be read, or holds nothing.
        """
        if self.signing_key is not None and self.signing_key.get_secret_value():
            return self.signing_key.get_secret_value().encode()
        return None if self.signing_key_file is None else read_key(self.signing_key_file)


class FrontendSettings(BaseModel):
    """The HTTP frontend."""

    host: str = "127.0.0.1"
    port: int = Field(default=1337, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, description="frontend processes that share the port")
    max_in_flight: int = Field(
        default=4096, ge=1, description="queries of one model in flight in one process before 429"
    )
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1, description="larger requests get 413")
    cache_entries: int = Field(
        default=100_000, ge=0, description="answers kept in the process; 0 switches the cache in the process off"
    )
    cache_bytes: int = Field(default=32 * 1024 * 1024, ge=0, description="bound on the bytes of those answers")
    oip_timeout_s: float = Field(default=30.0, gt=0, description="deadline of OIP requests that name none")


class WorkerSettings(BaseModel):
    """One worker process."""

    model: str = ""
    version: str = ""
    state: Path = Path("worker-state")
    heartbeat_s: float = Field(default=1.0, gt=0)
    commit_interval_ms: int = Field(
        default=100, ge=1, description="offsets of stored outcomes are committed this often"
    )
    crash_limit: int = Field(default=3, ge=2, description="crashes after which a query is dead-lettered")
    job_ttl_s: int = Field(default=3600, ge=1, description="how long outcomes that nobody waits for are kept")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Prometheus metrics of this worker; 0: none")


class AdminSettings(BaseModel):
    """The admin process."""

    host: str = "127.0.0.1"
    port: int = Field(default=1338, ge=0, le=65535)
    manager: str = Field(
        default="local", pattern="^(local|external)$", description="local: workers are child processes; external: yours"
    )
    logs: Path = Path("logs")
    deploy_timeout_s: float = Field(default=300.0, gt=0)


class Settings(BaseSettings):
    """All settings; a process reads the parts that concern it."""

    # A variable that is set to nothing (as compose files do for one that the host lacks) counts as unset.
    model_config = SettingsConfigDict(
        env_prefix="SKYSAIL_", env_nested_delimiter="__", env_file=".env", env_ignore_empty=True, extra="ignore"
    )

    namespace: str = "default"
    log_level: str = "info"
    log_format: str = Field(default="text", pattern="^(text|json)$")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    artifacts: ArtifactSettings = Field(default_factory=ArtifactSettings)
    frontend: FrontendSettings = Field(default_factory=FrontendSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)

    @model_validator(mode="after")
    def _check_namespace(self) -> Settings:
        check_name("namespace", self.namespace)
        return self
