"""Networks by name: the registries GENERATORS and DISCRIMINATORS, and `find` for names with a number."""
