"""Child processes with deadlines, and retries of failures that pass."""
