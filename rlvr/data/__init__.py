"""Problems: loaders, prompts, and the generated family."""
