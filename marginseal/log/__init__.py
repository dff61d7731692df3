"""The transparency log: append-only, checkpointed, provable."""
