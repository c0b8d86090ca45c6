"""HTML pages that need no other file: their frame, and the report of a conversion."""
