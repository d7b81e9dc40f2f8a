"""The rewriting of Programs: one ordered list of passes, in `pipeline`."""
