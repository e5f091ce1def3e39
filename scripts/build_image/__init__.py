"""Puts piapp into the image of an SD card: the program behind scripts/build-image.

    copying.py   IMAGE → OUTPUT, unpacked
    card.py      the image: its partitions, more room, files on FAT, the last check
    system.py    the system on its root partition, which can be mounted and run
    setup.py     piapp into that system: at once, or when the Pi starts for the first time
    manifest.py  what Raspberry Pi Imager wants to know of it

Only Python's own library, and Debian's programs: this runs on any Debian, before anything is installed there.
"""
