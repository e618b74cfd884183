"""Tests of Skysail; the folders mirror the packages."""
