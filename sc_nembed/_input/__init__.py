"""What the tools read out of an AnnData."""
