"""State in SQL: SQLite embedded, PostgreSQL shared."""
