"""Teaching a small local model to plan: a corpus, a LoRA on it, and the adapter as a GGUF file."""
