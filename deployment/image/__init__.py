"""Builds the gateway's image without a container engine: buildah on a base that mmdebstrap makes.

Also says what is in it: layers and their sizes, and a bill of materials.
"""
