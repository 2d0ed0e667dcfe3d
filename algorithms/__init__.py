"""The algorithms: pure credit assignment and losses, composed, never subclassed."""
