"""The measurements: ``python -m benchmarks``. Ratios of two things measured in one run, never requests a second.

A benchmark reports and never asserts: what must hold is the tests' business. What the lines mean and how far to trust
them is in ``docs/benchmarks.md``. The agent is measured from outside, as a process that clients talk to; only
``inside`` looks at parts of it.
"""
