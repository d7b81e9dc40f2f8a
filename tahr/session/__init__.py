"""Sessions: what runs graphs and keeps their state."""
