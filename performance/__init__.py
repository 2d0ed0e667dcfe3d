"""Speed against TRL and bare vLLM, as commands: ``python -m performance``. See README.md."""
