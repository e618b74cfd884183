"""The part of `Connection` that deals with dead letters."""

from __future__ import annotations

from typing import Any

from skysail.admin.inspection import Inspection
from skysail.admin.transport import PATIENT_S
from skysail.topics.dead_letters import LetterFilter
from skysail.topics.names import check_name

__all__ = ["Letters"]


class Letters(Inspection):
    """What could neither be read nor computed, and what is done about it."""

    def get_dead_letters(
        self, model: str, version: str | int | None = None, wanted: LetterFilter | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """The last letters of a model (or of one version's topic), in the order of their burial."""
        found: list[dict[str, Any]] = self._letters(
            "GET", model, params=_parameters(wanted, version=version, limit=limit)
        )
        return found

    def get_dead_letter(self, model: str, query_id: str) -> list[dict[str, Any]]:
        """Everything about the letters of one query, its value and headers among it. Raises NotFoundError."""
        found: list[dict[str, Any]] = self._letters("GET", model, query_id)
        return found

    def replay_dead_letters(
        self,
        model: str,
        wanted: LetterFilter | None = None,
        *,
        version: str | int | None = None,
        again: bool = False,
        to_model: bool = False,
        dry_run: bool = False,
    ) -> list[dict[str, Any]]:
        """Send letters once more, with their ids, to the topics that they came from; returns which.

        Args:
            model: whose letters.
            wanted: which; by default all.
            version: of this version's topic alone.
            again: those too that were sent once more before.
            to_model: to the model's own topic instead: its current version answers.
            dry_run: only say which are meant.
        """
        options = _parameters(wanted, version=version, again=again, to_model=to_model, dry_run=dry_run)
        sent: list[dict[str, Any]] = self._letters("POST", model, "replay", params=options, timeout_s=PATIENT_S)
        return sent

    def purge_dead_letters(
        self, model: str, *, version: str | int | None = None, until_ms: int | None = None, dry_run: bool = False
    ) -> int:
        """Delete letters from the oldest on, all or those buried before a time (unix ms); returns how many."""
        options = _parameters(LetterFilter(until_ms=until_ms), version=version, dry_run=dry_run)
        return int(self._letters("DELETE", model, params=options, timeout_s=PATIENT_S)["purged"])

    def _letters(self, method: str, model: str, *path: str, **options: Any) -> Any:
        return self._call(method, "models", check_name("model name", model), "dead-letters", *path, **options)


def _parameters(wanted: LetterFilter | None, **more: Any) -> dict[str, Any]:
    chosen = wanted or LetterFilter()
    fields = {
        "id": chosen.query_id,
        "reason": chosen.reason,
        "error": chosen.error,
        "since_ms": chosen.since_ms,
        "until_ms": chosen.until_ms,
    }
    return {name: value for name, value in {**fields, **more}.items() if value is not None}
