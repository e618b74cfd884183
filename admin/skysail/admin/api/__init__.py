"""The admin process's HTTP: Clipper's management API, Skysail's own, health and metrics."""
