"""Chat-completion clients: requests, retries, circuit breaker, stored responses."""
