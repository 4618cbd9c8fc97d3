"""The page on the gateway: what a technician beside the traps sees, with no internet and no headquarters."""
