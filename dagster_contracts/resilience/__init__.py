"""Circuits, snapshots, quarantine, degraded reads and healing, as services."""
