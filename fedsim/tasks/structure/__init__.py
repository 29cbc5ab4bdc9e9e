"""What a model is made of, as tracing and learning both see it: repeated blocks, layers, head."""
