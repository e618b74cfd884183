"""Apache Kafka: one node that is broker and controller (KRaft), small enough for two cores."""

import base64
import re
import shutil
import subprocess
import uuid
from typing import ClassVar

from tests.services.ports import HOST, free_port
from tests.services.readiness import broker_answers
from tests.services.service import REPOSITORY, Service, ServiceError

__all__ = ["Kafka"]

#: Where `make services` puts Kafka's jars.
JARS = REPOSITORY / ".cache" / "kafka" / "libs"

OLDEST_JAVA = 17

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
inter.broker.listener.name=CLIENTS
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

# Topics are made by whoever deploys a model, never by a typing error.
auto.create.topics.enable=false

# One node: nothing to replicate to. Few internal partitions: each costs files and time at start.
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.dedupe.buffer.size=4194304

# Tests of failures wait for these.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""

LOGGING = """\
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{HH:mm:ss,SSS} %p %m (%c{1})%n
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=stdout
logger.groups.name=org.apache.kafka.coordinator.group
logger.groups.level=INFO
"""


class Kafka(Service):
    """A real Kafka broker.

    Args:
        heap_mb: the JVM's heap in MiB.
        properties: server properties, added to those above or in place of them.
    """

    name: ClassVar[str] = "kafka"

    def __init__(self, *, heap_mb: int = 320, properties: dict[str, str] | None = None) -> None:
        super().__init__()
        self._heap_mb = heap_mb
        self._properties = properties or {}
        self._controller_port: int | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Whether there is a JVM, new enough, and Kafka's jars."""
        if not shutil.which("java"):
            return "java is not installed"
        if not (JARS / ".complete").exists():
            return "Kafka's jars are not there (`make services` fetches them)"
        version = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
        found = re.search(r'version "(\d+)', version)
        return None if found and int(found[1]) >= OLDEST_JAVA else f"Kafka needs Java {OLDEST_JAVA}, not: {version!r}"

    def prepare(self) -> None:
        """Writes the configuration and formats the data folder for a new cluster."""
        self._controller_port = self._controller_port or free_port()
        (self.folder / "logging.properties").write_text(LOGGING, "utf-8")
        properties = PROPERTIES.format(
            host=HOST, port=self.port, controller_port=self._controller_port, data=self.data
        ) + "".join(f"{key}={value}\n" for key, value in self._properties.items())
        (self.folder / "server.properties").write_text(properties, "utf-8")
        self._format(cluster=base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))

    def command(self) -> list[str]:
        """The broker, with a small heap and a collector that needs no core of its own."""
        heap = (f"-Xms{min(self._heap_mb, 128)}m", f"-Xmx{self._heap_mb}m", "-XX:+UseSerialGC")
        return [*self._java(*heap), "kafka.Kafka", "server.properties"]

    def is_ready(self) -> bool:
        """Whether it names itself to a client."""
        return broker_answers(self.port)

    def _format(self, cluster: str) -> None:
        # Compiling hot code pays only for a process that lives longer than this one.
        tool = [*self._java("-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*tool, f"--cluster-id={cluster}", "-c", "server.properties"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"kafka's data folder could not be formatted\n{done.stdout}{done.stderr}"
            raise ServiceError(msg)

    def _java(self, *options: str) -> tuple[str, ...]:
        logging = self.folder / "logging.properties"
        return ("java", *options, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{JARS}/*")
