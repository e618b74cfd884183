"""`Connection`: what it adds to the admin API that it is a client of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skysail.admin.connection import Connection
from skysail.admin.deployers.capture import capture
from skysail.admin.deployers.environment import environment_of
from skysail.admin.deployers.python import deploy_python_closure
from skysail.admin.deployers.sklearn import create_endpoint, deploy_sklearn_model
from skysail.admin.embedded.state import default_state
from skysail.topics.artifacts import Manifest, seal
from skysail.topics.errors import (
    ArtifactError,
    BadInputError,
    ConflictError,
    DeployError,
    InvalidNameError,
    NotFoundError,
    UnavailableError,
)
from skysail.topics.specs import InputType
from tests.admin.models import count
from tests.admin.processes import SIGNING_KEY, AdminProcess
from tests.services.ports import free_port

pytestmark = pytest.mark.timeout(120)


def test_a_connection_connects_when_it_is_used_not_when_it_is_made() -> None:
    away = Connection(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match="does not answer"):
        away.connect()


def test_a_closed_connection_can_be_used_again(admin: AdminProcess) -> None:
    connection = Connection(f"{admin.url}/")
    connection.connect()
    connection.close()
    connection.close()
    with connection:
        connection.connect()


def test_addresses_are_clippers(admin: AdminProcess) -> None:
    connection = Connection(admin.url, frontend_url="http://127.0.0.1:1337/")
    assert connection.get_query_addr() == "127.0.0.1:1337"
    assert connection.get_metric_addr() == "http://127.0.0.1:1337/metrics"


def test_verbose_may_be_given_by_position_as_in_clipper(admin: AdminProcess, name: str) -> None:
    admin.connection.register_application(name, "ints", "default", 1000)
    assert name in admin.connection.get_all_apps()
    (info,) = [one for one in admin.connection.get_all_apps(True) if one["name"] == name]
    assert info == admin.connection.get_app_info(name)
    assert (info["input_type"], info["default_output"], info["latency_slo_micros"]) == ("integers", "default", 1000)


def test_a_null_default_is_one(admin: AdminProcess, name: str) -> None:
    admin.connection.register_application(name, "doubles", null_default=True)
    info = admin.connection.get_app_info(name)
    assert (info["default_output"], info["has_default"]) == (None, True)


def test_names_that_are_none_never_reach_the_network() -> None:
    away = Connection(f"http://127.0.0.1:{free_port()}")
    calls: list[Callable[[], object]] = [
        lambda: away.get_app_info("../models"),
        lambda: away.delete_application("a/b"),
        lambda: away.get_model_info("m", "1/../2"),
        lambda: away.rollback("M"),
        lambda: away.register_application("", "doubles"),
        lambda: away.set_num_replicas("m", 1, "1.0"),
    ]
    for call in calls:
        with pytest.raises(InvalidNameError):
            call()


def test_unlinking_names_the_model_that_is_meant(admin: AdminProcess, name: str) -> None:
    admin.connection.register_model(name, 1, "doubles")
    admin.connection.register_application(name, "doubles")
    admin.connection.link_model_to_app(name, name)
    with pytest.raises(NotFoundError, match="is not linked to other"):
        admin.connection.unlink_model_from_app(name, "other")
    assert admin.connection.get_linked_models(name) == [name]
    admin.connection.unlink_model_from_app(name, name)
    assert admin.connection.get_linked_models(name) == []
    admin.connection.unregister_application(name)
    assert name not in admin.connection.get_all_apps()


def test_errors_are_typed(admin: AdminProcess, name: str) -> None:
    with pytest.raises(NotFoundError, match="no application"):
        admin.connection.get_app_info(name)
    with pytest.raises(NotFoundError, match="no model"):
        admin.connection.get_current_model_version(name)
    with pytest.raises(BadInputError, match="unknown input type"):
        admin.connection.register_application(name, "images")
    admin.connection.register_application(name, "doubles")
    with pytest.raises(ConflictError):
        admin.connection.register_application(name, "doubles")
    admin.connection.register_model(name, 1, "doubles")
    with pytest.raises(NotFoundError, match="has no logs"):
        admin.connection.get_logs(name, 1)


def test_replicas_can_be_waited_for_with_an_end(admin: AdminProcess, name: str) -> None:
    admin.connection.register_model(name, 1, "doubles")
    admin.connection.wait_for_replicas(name, 0)
    with pytest.raises(DeployError, match=r"0 workers are ready after 0\.2 s, 1 are wanted"):
        admin.connection.wait_for_replicas(name, 1, timeout_s=0.2)


def test_an_estimator_is_deployed_with_the_shape_of_its_rows(admin: AdminProcess, name: str) -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    rows = np.array([[0.0, 1.0], [1.0, 0.0]])
    model = LogisticRegression().fit(rows, [0, 1])
    create_endpoint(admin.connection, name, "doubles", model, sample=rows, partitions=1)
    info = admin.connection.get_model_info(name, 1)
    assert info["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
    assert info["sample"] == [[0.0, 1.0], [1.0, 0.0]]
    assert admin.connection.get_model_replica_info(name, 1, "unheard-of") == {}
    (replica,) = [one for one in admin.connection.get_all_model_replicas() if one.startswith(f"{name}:1:")]
    found = admin.connection.get_model_replica_info(name, 1, replica.split(":")[2])
    assert found["state"] == "ready"


def test_an_estimator_that_is_not_fitted_or_has_no_predict_is_refused(admin: AdminProcess, name: str) -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(ArtifactError, match="not fitted"):
        deploy_sklearn_model(admin.connection, name, 1, LogisticRegression())
    with pytest.raises(ArtifactError, match="has no predict"):
        deploy_sklearn_model(admin.connection, name, 1, object())


def test_an_artifact_that_is_there_already_is_deployed_from_its_folder(
    admin: AdminProcess, name: str, tmp_path: Path
) -> None:
    captured = capture(count)
    (tmp_path / "func.pkl").write_bytes(captured.data)
    manifest = Manifest(
        name=name,
        version="1",
        framework="python-closure",
        entry_point="func.pkl",
        input_type=InputType.STRINGS,
        environment=environment_of(captured.modules),
    )
    sealed = seal(tmp_path, manifest, SIGNING_KEY.encode())
    admin.connection.deploy_model(name, 1, "strings", tmp_path, labels=["by hand"], promote=False)
    info = admin.connection.get_model_info(name, 1)
    assert (info["artifact_digest"], info["labels"], info["is_current"]) == (sealed.digest, ["by hand"], False)
    (tmp_path / "func.pkl").write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="is not what the manifest says"):
        admin.connection.deploy_model(name, 2, "strings", tmp_path)


def test_logs_of_all_workers_are_written_to_a_folder(admin: AdminProcess, name: str, tmp_path: Path) -> None:
    deploy_python_closure(admin.connection, name, 1, count, input_type="strings", partitions=1)
    files = admin.connection.get_clipper_logs(str(tmp_path / "logs"))
    assert str(tmp_path / "logs" / f"{name}.1.0.log") in files
    assert "ready" in (tmp_path / "logs" / f"{name}.1.0.log").read_text()


def test_a_predict_function_is_tried_here_as_in_clipper() -> None:
    assert Connection.test_predict_function({"input": "abc"}, count, "strings") == [3]
    assert Connection.test_predict_function({"input_batch": ["a", "ab"]}, count, "strings") == [1, 2]


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SKYSAIL_ARTIFACTS__SIGNING_KEY", raising=False)
    monkeypatch.delenv("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("SKYSAIL_STATE", str(tmp_path))


@pytest.mark.usefixtures("no_key")
def test_the_signing_key_is_the_one_given_or_named_or_the_stacks_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert Connection().signing_key is None
    (default_state() / "signing.key").write_text("the stack's\n")
    assert Connection().signing_key == b"the stack's"
    assert Connection("http://elsewhere:1338").signing_key is None
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert Connection("http://elsewhere:1338").signing_key == b"from a file"
    monkeypatch.setenv("SKYSAIL_ARTIFACTS__SIGNING_KEY", "named")
    assert Connection().signing_key == b"named"
    assert Connection(signing_key=b"given").signing_key == b"given"


@pytest.mark.usefixtures("no_key")
def test_a_key_file_that_is_not_there_is_an_error_not_an_unsigned_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE", "/no/such/key")
    with pytest.raises(ArtifactError, match="/no/such/key cannot be read"):
        _ = Connection().signing_key


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize("variable", ["SKYSAIL_ARTIFACTS__SIGNING_KEY", "SKYSAIL_ARTIFACTS__SIGNING_KEY_FILE"])
def test_a_key_that_is_set_to_nothing_counts_as_unset(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    assert Connection().signing_key is None


@pytest.mark.usefixtures("no_key")
def test_an_empty_key_signs_nothing(admin: AdminProcess, name: str) -> None:
    (default_state() / "signing.key").write_text("\n")
    with pytest.raises(ArtifactError, match=r"signing\.key is empty"):
        _ = Connection().signing_key
    with (
        Connection(admin.url, signing_key=b"") as connection,
        pytest.raises(ArtifactError, match="the signing key is empty"),
    ):
        deploy_python_closure(connection, name, 1, count, input_type="strings")


@pytest.mark.parametrize("proxy", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_is_not_asked_for_this_machine(
    admin: AdminProcess, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv(proxy, f"http://127.0.0.1:{free_port()}")
    with Connection(admin.url) as connection:
        connection.connect()
    with Connection("http://admin.example:1338") as elsewhere, pytest.raises(UnavailableError, match="does not answer"):
        elsewhere.connect()
