from __future__ import annotations

import sys
from importlib import metadata

import numpy as np
from sklearn.linear_model import LogisticRegression

from skysail.admin.deployers.capture import capture
from skysail.admin.deployers.environment import environment_of


def test_the_interpreter_is_named_by_major_and_minor_version() -> None:
    assert environment_of([]).python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_distributions_are_named_with_the_versions_that_are_installed() -> None:
    environment = environment_of(["sklearn.linear_model._logistic", "numpy", "json"])
    assert environment.distributions == {
        "numpy": metadata.version("numpy"),
        "scikit-learn": metadata.version("scikit-learn"),
    }


def test_skysail_itself_and_modules_that_do_not_exist_are_not_named() -> None:
    assert environment_of(["skysail.topics.errors", "no_such_module"]).distributions == {}


def test_a_package_that_several_distributions_share_is_not_all_of_them() -> None:
    by_package = metadata.packages_distributions()
    shared = [name for name, found in by_package.items() if len(set(found)) > 1]
    for name in shared:
        assert len(environment_of([name]).distributions) <= 1


def test_a_fitted_estimator_needs_what_it_was_fitted_with_and_no_more() -> None:
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    names = environment_of(capture(model).modules).distributions.keys()
    assert {"scikit-learn", "numpy"} <= names
    assert not names & {"fastapi", "pytest", "typer"}
