"""How a worker logs."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

from skysail.workers.logs import Damped


def test_a_damped_warning_is_logged_once_in_a_while_with_the_number_left_out() -> None:
    events: list[dict[str, Any]] = []

    class Log:
        def warning(self, event: str, **fields: Any) -> None:
            events.append({"event": event, **fields})

    now_s = 0.0
    damped = Damped(Log(), "away", every_s=10, clock=lambda: now_s)
    for step_s in (0.0, 1.0, 8.0, 2.0, 1.0):
        now_s += step_s
        damped("why")
    assert events == [
        {"event": "away", "error": "why", "left_out": 0},
        {"event": "away", "error": "why", "left_out": 2},
    ]


def logged(level: str, log_format: str) -> tuple[str, str]:
    code = f"""
        import structlog
        from skysail.workers import logs
        logs.configure({level!r}, {log_format!r}, model="m")
        log = structlog.get_logger("x")
        log.info("quiet")
        log.warning("loud", rows=3)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("failed")
        print("the model's")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_json_lines_are_for_machines_and_stdout_is_left_to_the_model() -> None:
    out, err = logged("warning", "json")
    assert out == "the model's\n"
    loud, failed = (json.loads(line) for line in err.splitlines())
    assert (loud["event"], loud["rows"], loud["model"], loud["level"]) == ("loud", 3, "m", "warning")
    assert "ZeroDivisionError" in failed["exception"]


def test_text_is_for_people() -> None:
    _, err = logged("info", "text")
    assert "quiet" in err
    assert "rows=3" in err
    assert "ZeroDivisionError: division by zero" in err
