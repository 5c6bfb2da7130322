"""The service under load: many clients at once, large tables, many jobs one after the other."""
