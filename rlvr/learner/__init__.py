"""The learner: DeepSpeed ranks that hold and update the policy."""
