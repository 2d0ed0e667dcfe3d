"""The ``rlvr`` command. The only place that imports Hydra and OmegaConf."""
