"""Metric history, anomalies, alerts, health and feedback, as services."""
