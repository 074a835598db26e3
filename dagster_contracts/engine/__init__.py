"""Validation: data in, outcomes out."""
