"""Text and tokens: cutting responses into sentences, rendering prompts, and which characters each token carries."""
