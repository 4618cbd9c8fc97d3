"""What IoT Edge is told to run on a gateway."""
