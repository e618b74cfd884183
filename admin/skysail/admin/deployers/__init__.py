"""Deployers: a model, its code and what it was trained with, in one line from where it was trained."""
