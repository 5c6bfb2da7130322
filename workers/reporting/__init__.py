"""A report: candidates measured on common ground, one of them recommended, and the page that shows it all."""
