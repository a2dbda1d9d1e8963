"""The engine: tensors in, tensors out. It knows neither AnnData nor plots; the door to AnnData is `sc_nembed.tl`."""
