"""The words of the compact form: every section, its keys, and what each means.

The readers close each section with its table, so that they cannot read a key that is not here, nor
forget one that is. The JSON Schema for editors and the reference in the docs are made from these
tables.
"""
