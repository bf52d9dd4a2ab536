"""What an evaluation leaves behind: numbers, charts, one page."""
