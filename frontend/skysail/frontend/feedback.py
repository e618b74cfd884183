"""`POST /{app}/update`: feedback goes to the application's Kafka topic, as a CloudEvent."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

from skysail.frontend.inputs import FeedbackDecoder, FeedbackRequest
from skysail.frontend.routes import check_registry
from skysail.topics.client import PredictionClient
from skysail.topics.errors import BadInputError, NotFoundError, RejectedError, UnavailableError
from skysail.topics.kafka.publisher import Publisher
from skysail.topics.records import Header

__all__ = ["Feedback"]

#: The caller hears within a second that the broker is away.
_STORED_WITHIN_S = 0.8
_THREADS = 4
_MOST_WAITING = 256


class Feedback:
    """Publishes feedback, and says so only when the broker has stored it. Has threads of its own, few and bounded."""

    def __init__(self, client: PredictionClient, publisher: Publisher) -> None:
        self._client = client
        self._publisher = publisher
        self._threads = ThreadPoolExecutor(_THREADS, "feedback")
        self._waiting = 0

    async def take(self, app: str, body: bytes) -> None:
        """Store one piece of feedback.

        Raises:
            NotFoundError: when there is no such application.
            BadInputError: when the body is not feedback for the application's input type.
            RejectedError: when too much waits to be stored.
            UnavailableError: when the broker did not store it in time; it may come to be stored all the same.
        """
        spec = self._client.view.snapshot.apps.get(app)
        if spec is None:
            check_registry(self._client)
            message = f"no application is named {app!r}"
            raise NotFoundError(message)
        feedback = FeedbackDecoder.of(spec.input_type).decode(body)
        event, event_id = _event(feedback), self._client.new_id()
        if self._waiting >= _MOST_WAITING:
            message = f"{self._waiting} pieces of feedback wait to be stored"
            raise RejectedError(message)
        self._waiting += 1
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self._store, app, event, event_id, feedback.uid
            )
        finally:
            self._waiting -= 1

    def _store(self, app: str, event: bytes, event_id: str, uid: int | str) -> None:
        if not self._client.broker_available:  # looked at here, since it may have gone while others were stored
            message = "the broker is away"
            raise UnavailableError(message)
        headers: list[Header] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id.encode()),
            ("ce_type", b"io.skysail.feedback"),
            ("ce_source", f"/apps/{app}".encode()),
            ("ce_time", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()),
            ("content-type", b"application/json"),
        ]
        topic = self._client.topics.feedback(app)
        self._publisher.publish(topic, event, str(uid).encode(), headers, _STORED_WITHIN_S)

    def close(self) -> None:
        """End the threads and disconnect."""
        self._threads.shutdown()
        self._publisher.close()


def _event(feedback: FeedbackRequest) -> bytes:
    event = {"uid": feedback.uid, "input": feedback.input, "label": feedback.label}
    if feedback.query_id is not None:
        event["query_id"] = feedback.query_id
    try:
        return msgspec.json.encode(event)
    except RecursionError:  # what can just be read may be too deep to be written
        message = "the feedback is nested too deeply"
        raise BadInputError(message) from None
