"""Learning rules: right, small, fast, and what they learn."""
