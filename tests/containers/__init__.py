"""The image and the compose stack, built and run: `make image`, `make compose-check`."""
