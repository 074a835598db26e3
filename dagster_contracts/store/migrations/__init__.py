"""Alembic migrations of the state store; ``versions`` holds one module for each revision."""
