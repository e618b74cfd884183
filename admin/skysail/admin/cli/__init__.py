"""The `skysail` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors are one line on stderr and a non-zero exit status (see `cli.group.ExitStatus`)."""
    from skysail.admin.cli.app import app

    app()
