"""rlvr: reinforcement learning with verifiable rewards, and what it does to pass@k."""

__version__ = "0.1.0"
