"""PiCamera on a stand-in for picamera2; the real one is tried in tests/real_picamera2."""
