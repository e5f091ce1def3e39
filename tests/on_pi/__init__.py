"""What the owner of a Raspberry Pi runs once: ./run tries all that piapp has for Pi cameras, and writes a report.

Each step is a process of its own with a time limit, so that one that hangs or dies spoils neither the rest nor the
figures of the others. In the report nothing tells whose Pi it is.
"""
