"""The page of a report: what was measured, as one HTML file that stands alone."""
