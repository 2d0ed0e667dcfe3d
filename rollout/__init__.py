"""Rollout engines: vLLM, and the transfer of weights into it. The only place that imports vllm."""
