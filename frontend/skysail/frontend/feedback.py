"""`POST /{app}/update`: feedback goes to the application's Kafka topic, as a CloudEvent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from skysail.topics.client import PredictionClient
from skysail.topics.errors import NotFoundError
from skysail.topics.kafka.publisher import Publisher

__all__ = ["Feedback", "FeedbackBody"]

_STORED_WITHIN_S = 2.0


class FeedbackBody(BaseModel):
    """Clipper's body; `label` is any JSON value here, and `query_id` names the query where it is known."""

    input: Any = Field(description="what was predicted on")
    label: Any = Field(description="what was right")
    uid: int | str = Field(default=0, description="whose feedback it is")
    query_id: str | None = Field(default=None, description="the query that the feedback is about")


class Feedback:
    """Publishes feedback, and says so only when the broker has stored it."""

    def __init__(self, client: PredictionClient, publisher: Publisher) -> None:
        self._client = client
        self._publisher = publisher

    async def take(self, app: str, body: FeedbackBody) -> None:
        """Store one piece of feedback.

        Raises:
            NotFoundError: when there is no such application.
            UnavailableError: when the broker did not store it.
        """
        if app not in self._client.view.snapshot.apps:
            message = f"no application is named {app!r}"
            raise NotFoundError(message)
        event_id = self._client.new_id()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id.encode()),
            ("ce_type", b"io.skysail.feedback"),
            ("ce_source", f"/apps/{app}".encode()),
            ("ce_time", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()),
            ("content-type", b"application/json"),
        ]
        value = msgspec.json.encode(body.model_dump(exclude_none=True))
        topic = self._client.topics.feedback(app)
        await asyncio.to_thread(
            self._publisher.publish, topic, value, str(body.uid).encode(), headers, _STORED_WITHIN_S
        )
