"""The demonstration: the whole system on one machine, with a card that the project draws itself."""
