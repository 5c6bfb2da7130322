"""The streams of noise, numbered once: a number is never given a second meaning, and nothing shares one."""

from enum import IntEnum

NOISE_SCHEME = 1  # recorded in manifests; a changed golden vector means scheme 2


class Stream(IntEnum):
    """What the numbers of a stream are used for."""

    LATENTS = 0
    CHOICES = 1
    OUTPUT = 2
    LABELS = 3
    FIT_DRAWS = 16
    TUNE_DRAWS = 17
    HOLDOUT_DRAWS = 18
    INITIALISATION = 19
    SPLIT = 20
    RATE_DRAWS = 21
    HEAD_TEST = 22
    INFORMATION_ROWS = 23
    INFORMATION_DRAWS = 24
    FLOW_ORDER = 25
    FLOW_CHECK = 26
    REPORT_CHOICES = 32
    BOOTSTRAP = 33
    PROJECTIONS = 34
    REPORT_REFERENCE = 35
    REPORT_FLOOR = 36
    REPORT_SHOWN = 37
    REPORT_PRIOR = 38
