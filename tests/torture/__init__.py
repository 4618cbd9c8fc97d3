"""The whole system in real processes, while everything that can go wrong does: ``python -m tests.torture --help``.

After each round headquarters' record must equal that of an undisturbed run, every owed picture must be in Blob Storage
once with the right bytes, and no receipt may have said *safe to wipe* before headquarters' database held every row.
"""
