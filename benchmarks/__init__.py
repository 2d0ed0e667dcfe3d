"""Speed against TRL and bare vLLM, as commands: ``python -m benchmarks``. See README.md."""
