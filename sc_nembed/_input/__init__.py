"""What is read of what users hand over: an AnnData, or arrays."""
