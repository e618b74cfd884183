import subprocess
import sys

PROBE = """
import importlib, pkgutil, sys
for allowed in ("confluent_kafka", "confluent_kafka.admin", "redis.asyncio", "msgspec", "numpy"):
    importlib.import_module(allowed)
before = {name.split(".")[0] for name in sys.modules}
import skysail.topics
for module in pkgutil.walk_packages(skysail.topics.__path__, "skysail.topics."):
    if module.name not in {"skysail.topics.logs", "skysail.topics.settings"}:  # for the processes' entry points
        importlib.import_module(module.name)
new = {name.split(".")[0] for name in sys.modules} - before
print(*sorted(new - set(sys.stdlib_module_names)))
"""


def imported_by(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_topics_pulls_in_its_four_libraries_alone() -> None:
    assert imported_by(PROBE) <= {"skysail"}


def test_the_probe_sees_what_is_imported() -> None:
    assert {"pydantic", "structlog"} <= imported_by(PROBE.replace("not in {", "not in {'nothing'} - {"))


def test_no_module_of_the_namespace_is_a_regular_package() -> None:
    assert imported_by("import skysail; print(skysail.__file__)") == {"None"}
