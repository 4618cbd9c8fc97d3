"""The cloud, in small: an ARM template, and how much of the cloud a number of cameras takes."""
