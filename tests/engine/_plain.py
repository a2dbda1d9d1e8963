"""Have the engine do everything in plain torch."""

from sc_nembed.engine.compute import twins


def only_plain(monkeypatch) -> None:
    plain = {key: entry for key, entry in twins.TWINS.items() if key[1:] == twins.PLAIN}
    monkeypatch.setattr(twins, "TWINS", plain)
