from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from skysail.topics.errors import ArtifactError, InvalidNameError
from skysail.topics.settings import ArtifactSettings, KafkaSettings, Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `.env` file and no variable of whoever runs the tests."""
    import os

    for name in os.environ:
        if name.upper().startswith("SKYSAIL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_serve_one_machine() -> None:
    settings = Settings()
    assert settings.kafka.librdkafka() == {"bootstrap.servers": "127.0.0.1:9092"}
    assert settings.redis.url == "redis://127.0.0.1:6379/0"
    assert (settings.frontend.port, settings.admin.port) == (1337, 1338)


def test_the_environment_comes_before_the_file_and_an_argument_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SKYSAIL_NAMESPACE=file\nSKYSAIL_LOG_LEVEL=debug\nSKYSAIL_FRONTEND__PORT=1\n")
    monkeypatch.setenv("SKYSAIL_NAMESPACE", "environment")
    monkeypatch.setenv("SKYSAIL_FRONTEND__PORT", "2")
    settings = Settings()
    assert (settings.namespace, settings.log_level, settings.frontend.port) == ("environment", "debug", 2)
    assert Settings(namespace="argument").namespace == "argument"


def test_any_librdkafka_property_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSAIL_KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2")
    monkeypatch.setenv("SKYSAIL_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("SKYSAIL_KAFKA__SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("SKYSAIL_KAFKA__SSL_CA_LOCATION", "/etc/ca.pem")
    assert Settings().kafka.librdkafka() == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "ssl.ca.location": "/etc/ca.pem",
    }


def test_properties_may_be_given_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSAIL_KAFKA__PROPERTIES", '{"enable.ssl.certificate.verification": false, "linger.ms": 5}')
    properties = Settings().kafka.librdkafka()
    assert properties["enable.ssl.certificate.verification"] is False
    assert properties["linger.ms"] == 5


def test_skysails_own_kafka_settings_are_not_librdkafkas() -> None:
    assert KafkaSettings(replication_factor=3).librdkafka() == {"bootstrap.servers": "127.0.0.1:9092"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYSAIL_FRONTEND__PORT", "70000"),
        ("SKYSAIL_FRONTEND__PORT", "web"),
        ("SKYSAIL_FRONTEND__WORKERS", "0"),
        ("SKYSAIL_WORKER__HEARTBEAT_S", "0"),
        ("SKYSAIL_WORKER__CRASH_LIMIT", "0"),
        ("SKYSAIL_ADMIN__MANAGER", "magic"),
        ("SKYSAIL_LOG_FORMAT", "xml"),
        ("SKYSAIL_KAFKA__PROPERTIES", "not json"),
    ],
)
def test_a_value_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ValidationError, ValueError)):
        Settings()


def test_the_namespace_follows_the_naming_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSAIL_NAMESPACE", "no.dots")
    with pytest.raises((ValidationError, InvalidNameError), match=r"namespace 'no\.dots' is not valid"):
        Settings()


def test_the_signing_key_comes_from_a_setting_or_a_file_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from a file\n")
    assert ArtifactSettings().key() is None
    assert ArtifactSettings(signing_key_file=file).key() == b"from a file"
    both = ArtifactSettings.model_validate({"signing_key": "direct", "signing_key_file": file})
    assert both.key() == b"direct"
    assert "direct" not in repr(both)


def test_a_variable_that_is_set_to_nothing_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARTIFACTS__SIGNING_KEY", "ARTIFACTS__SIGNING_KEY_FILE", "FRONTEND__PORT", "NAMESPACE"):
        monkeypatch.setenv(f"SKYSAIL_{name}", "")
    settings = Settings()
    assert settings.artifacts.key() is None
    assert (settings.frontend.port, settings.namespace) == (1337, "default")


def test_an_empty_text_is_no_signing_key_and_hides_no_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file")
    assert ArtifactSettings.model_validate({"signing_key": ""}).key() is None
    both = ArtifactSettings.model_validate({"signing_key": "", "signing_key_file": tmp_path / "key"})
    assert both.key() == b"from a file"


def test_a_key_file_that_is_empty_or_not_there_is_an_error_never_no_key(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    for name, why in (("empty", "is empty"), ("absent", "cannot be read: No such file")):
        with pytest.raises(ArtifactError, match=f"{name} {why}"):
            ArtifactSettings(signing_key_file=tmp_path / name).key()
