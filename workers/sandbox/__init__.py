"""What strangers upload is parsed in a process of its own, which can do little, has little, and ends soon."""

from workers.sandbox.bounds import SandboxBounds
from workers.sandbox.requests import InspectedBundle, InspectRequest, ReadDataset, ReadRequest
from workers.sandbox.sandbox import Sandbox

__all__ = ["InspectRequest", "InspectedBundle", "ReadDataset", "ReadRequest", "Sandbox", "SandboxBounds"]
