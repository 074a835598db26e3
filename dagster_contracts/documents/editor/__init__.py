"""What editors and people look up: JSON Schemas and the reference, made from the vocabulary."""
