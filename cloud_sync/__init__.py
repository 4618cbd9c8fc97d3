"""Headquarters: records what gateways send, shows it, and lets people judge and correct."""
