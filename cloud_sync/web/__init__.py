"""Headquarters' pages: Flask, one blueprint a page; every asset is served from here."""
