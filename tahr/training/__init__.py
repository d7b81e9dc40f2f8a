"""Training: optimizers, schedules, averages, the global step."""
