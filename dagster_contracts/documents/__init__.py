"""Contract documents: YAML in, `Contract` out."""
