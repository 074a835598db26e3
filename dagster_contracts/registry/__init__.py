"""The contract registry: versions, subscriptions, consumers, events."""
