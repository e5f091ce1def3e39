"""What the network sees: handlers answer requests, a Broadcast writes one camera's frames to its viewers."""
