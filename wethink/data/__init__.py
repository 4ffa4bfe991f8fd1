"""Images on disk: row schema, image readers, ingestion, shards, near-duplicates."""
