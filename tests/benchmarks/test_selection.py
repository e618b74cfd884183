import pytest

from benchmarks.selection import QUICK, THOROUGH, Catalogue, Comparison, UnknownNameError, select

CATALOGUE = Catalogue(
    servers=["skysail", "skysail-embedded", "mosec", "mosec-0", "mosec-5", "mosec-10", "litserve"],
    workloads={"logistic": ("skysail", "mosec"), "forest": ("skysail",), "onnx": ("skysail", "litserve")},
    experiments=["rest", "batching"],
)


def test_without_a_name_everything_runs_but_the_report() -> None:
    plan = select([], CATALOGUE)
    assert [comparison.workload for comparison in plan.comparisons] == ["logistic", "forest", "onnx"]
    assert plan.experiments == ("rest", "batching")
    assert not plan.report
    assert plan.schedule == THOROUGH


def test_a_server_runs_beside_skysail_on_the_first_two_workloads() -> None:
    plan = select(["litserve"], CATALOGUE)
    servers = ("skysail", "litserve")
    assert plan.comparisons == (Comparison("logistic", servers), Comparison("forest", servers))
    assert plan.experiments == ()
    assert plan.schedule == QUICK


def test_one_server_on_two_workloads_stays_under_eight_minutes() -> None:
    points, starts_s, runs = 3, 12.0, 2 * 2 * QUICK.repeats
    assert runs * (starts_s + QUICK.warm_up_s + points * (QUICK.settle_s + QUICK.seconds)) < 8 * 60


def test_a_workload_runs_with_its_usual_servers() -> None:
    assert select(["onnx"], CATALOGUE).comparisons == (Comparison("onnx", ("skysail", "litserve")),)


def test_servers_and_workloads_together_are_multiplied() -> None:
    plan = select(["onnx", "mosec", "litserve"], CATALOGUE)
    assert plan.comparisons == (Comparison("onnx", ("skysail", "mosec", "litserve")),)


def test_a_group_stands_for_its_servers_and_none_runs_twice() -> None:
    plan = select(["mosec", "mosec-best"], CATALOGUE)
    assert plan.comparisons[0].servers == ("skysail", "mosec", "mosec-0", "mosec-5", "mosec-10")


def test_an_experiment_runs_alone() -> None:
    plan = select(["batching"], CATALOGUE)
    assert (plan.comparisons, plan.experiments) == ((), ("batching",))


def test_the_report_is_written_when_it_is_named() -> None:
    plan = select(["report"], CATALOGUE)
    assert plan.report
    assert not plan.comparisons


def test_an_unknown_name_is_refused_with_what_it_may_have_meant() -> None:
    with pytest.raises(UnknownNameError, match=r"'mosek'.*mosec"):
        select(["mosek"], CATALOGUE)
