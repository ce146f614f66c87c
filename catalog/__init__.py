"""What is recommended: items and interactions, the readers that bring them, the views they are searched by."""
