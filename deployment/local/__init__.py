"""The whole of Azure that Ponya uses, on one machine: see docs/local.md.

Two hops, as in the field: an *edge hub* for each gateway (what IoT Edge's own hub is), and one *hub* (what IoT Hub is),
with Azurite for Blob Storage. They speak Azure's wire protocols, so that Azure's SDKs run against them unmodified.
"""

from typing import Final

MODULE_ID: Final = "camtrap"
"""The one module a gateway runs."""

HUB_NAME: Final = "ponya.azure-devices.local"
"""What devices call the hub in their tokens. A name only: nothing looks it up."""

EVENT_HUB: Final = "ponya-events"
"""Name of the event stream (Event Hubs' entity path)."""

SERVICE_POLICY: Final = "iothubowner"
"""Name of the one shared access policy: it may do everything."""
