"""Training: the engine that trains any method, the loop around it, logs, checkpoints and validation."""
