"""The store's ends, on redis-py: replies, cache, registry, heartbeats. Works with Redis 7+ and Valkey."""
