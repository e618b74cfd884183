"""What Skysail costs and what it gains, measured beside others: `python -m benchmarks --help`."""
