"""Limits of a tenant: how much it may ask for, have at work, keep, and how often it may ask."""

from service.limits.tenants import limits_of, lock_tenant
from service.limits.usage import Usage, begun_jobs, check_queue, check_room, usage_of

__all__ = ["Usage", "begun_jobs", "check_queue", "check_room", "limits_of", "lock_tenant", "usage_of"]
