"""Coverage-guided fuzzing of what reads files: ``python -m tests.fuzz`` (docs/robustness.md)."""
