"""Deploys and runs models: the command line, the Python library, the management API."""
