"""The figures of the README, measured anew: `python -m benchmarks.<topic> [--quick] [--json]`."""
