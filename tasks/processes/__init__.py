"""Child processes with deadlines, and retries of transient failures."""
