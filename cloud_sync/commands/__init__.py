"""The commands of headquarters' command line, a room for each thing that they are about."""
