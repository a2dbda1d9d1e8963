"""Configurations as the doors make them."""

from sc_nembed.engine.configure import configured


def changed(config, **given):
    """A configuration with parameters and options of its method put over it."""
    return configured(config, given)
