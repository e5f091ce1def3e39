"""A camera: when its device is open, what it says when there is no picture, and that nothing of it stays behind."""
