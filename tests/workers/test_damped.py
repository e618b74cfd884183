from typing import Any

from skysail.workers.damped import Damped


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
