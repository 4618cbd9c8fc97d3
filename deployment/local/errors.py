"""What the local Azure raises on purpose."""

from edge_module.errors import PonyaError


class LocalError(PonyaError):
    """A process of the local Azure cannot start or go on: says what, where and what to do."""


class RefusedError(PonyaError):
    """A request that Azure would refuse, with Azure's own status.

    Source: "Understand Azure IoT Hub error codes" in Azure's documentation.
    """

    def __init__(self, status: int, code: str, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status, which is also the status of a twin answer over MQTT."""
        self.code = code
        """IoT Hub's name for the error, such as DeviceNotFound."""
        self.number = number
        """IoT Hub's six digits, such as 404001."""


def invalid(message: str) -> RefusedError:
    """Malformed: the same request will always be refused."""
    return RefusedError(400, "ArgumentInvalid", 400004, message)


def too_large(message: str) -> RefusedError:
    """A twin's section over its limit: IoT Hub answers 403 with number 403100 (seen in iotedge#7035 and #1560)."""
    return RefusedError(403, "GenericForbidden", 403100, message)


def unauthorized(message: str) -> RefusedError:
    """No token, or one that does not hold."""
    return RefusedError(401, "IotHubUnauthorizedAccess", 401002, message)
