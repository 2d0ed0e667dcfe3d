"""Where metrics go: JSONL always, TensorBoard and W&B by config, progress on the terminal."""
