"""piapp in real browsers: drive.py drives them, serving.py is what they look at, the tests say what they must see."""
