from dataclasses import asdict

import pytest

from benchmarks.bodies import BODIES, output_of
from benchmarks.report import BEGIN, END, render, replace_between
from benchmarks.results import Row

ROW = Row("logistic", "skysail", "kafka", 1, 300.0, 290.0, 310.0, 1.0, 2.0, 0, 3)


def test_only_what_is_between_the_marks_is_replaced() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_between(document, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("document", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_document_without_its_marks_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        replace_between(document, "new")


def test_a_report_has_rows_plots_experiments_and_what_was_left_out() -> None:
    results = {
        "rows": [asdict(ROW)],
        "versions": {"mosec": "0.9.8"},
        "idle": {"mib": 7},
        "unavailable": {"logistic": {"pytriton": "no such file"}},
    }
    text = render(results, {"idle": lambda idle: f"{idle['mib']} MiB", "growth": lambda _: "never"}, {"logistic"})
    assert "skysail (kafka)" in text
    assert "mosec 0.9.8" in text
    assert "![logistic](../benchmarks/results/logistic.png)" in text
    assert "Left out: pytriton: no such file" in text
    assert "7 MiB" in text
    assert "never" not in text


@pytest.mark.parametrize(
    "answer", ['{"output": 3}', "[3]", '{"outputs": [{"data": [[3]]}]}', '{"outputs": [{"data": [3]}]}']
)
def test_the_output_is_found_in_every_form_of_answer(answer: str) -> None:
    assert output_of(answer) == 3


def test_a_row_has_its_shape_in_an_open_inference_body() -> None:
    assert BODIES["oip"]([1.0, 2.0], "FP64")["inputs"][0]["shape"] == [1, 2]
    assert BODIES["oip"]("aGk=", "BYTES")["inputs"][0]["data"] == ["aGk="]
