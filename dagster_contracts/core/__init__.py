"""Values and pure functions: no Dagster, SQL, files, clock or randomness."""
