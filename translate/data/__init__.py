"""Data folders, and batches from them."""
