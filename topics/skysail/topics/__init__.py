"""What two Skysail processes must agree on: records, names, payloads, specs, errors, and the Kafka and Redis ends."""

__all__ = ["__version__"]

__version__ = "0.1.0"
