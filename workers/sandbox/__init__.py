"""What strangers upload is parsed in a process of its own, which can do little, has little, and ends soon.

A worker asks through `sandbox.py`; the process itself is `__main__.py`. Nothing is imported here: the process gives up
what it can before it loads anything.
"""
