"""Networks and losses: plain modules and pure functions that need torch alone."""
