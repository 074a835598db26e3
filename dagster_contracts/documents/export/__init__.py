"""Contracts for other tools and for people: one module for each format."""
