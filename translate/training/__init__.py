"""The engine that trains any method, and what it leaves on disk."""
