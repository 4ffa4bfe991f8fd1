"""Image sources in S3 buckets and folders: sync, watcher, completeness, events."""
