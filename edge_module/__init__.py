"""The IoT Edge module that runs on a gateway beside the camera traps."""
