"""Models behind chat-completions endpoints: one client for every role, and a store of what was paid for."""
