import json
import subprocess
import sys
import textwrap


def logged(level: str, log_format: str) -> tuple[str, str]:
    code = f"""
        import structlog
        from skysail.topics.logs import configure
        configure({level!r}, {log_format!r}, model="m")
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
