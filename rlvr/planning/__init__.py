"""Planning a run without starting it: sizes of models, memory, placement."""
