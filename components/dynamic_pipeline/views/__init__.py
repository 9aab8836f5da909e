"""Text from values; no input or output."""
