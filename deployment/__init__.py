"""How the product is put on machines: the local system, Azure, the Raspberry Pi."""
