"""Neighbor embeddings (t-SNE and relatives) of single cells, straight from AnnData."""
