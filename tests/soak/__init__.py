"""One month in an hour: a gateway with an accelerated clock through cards, outages, patches, models and restarts.

``make soak`` runs it; build/soak.json and build/soak.png say what came of it. What cannot be sped up runs in real time:
Azure's SDKs with their keep-alive and token renewal, and the scoring of pictures.
"""
