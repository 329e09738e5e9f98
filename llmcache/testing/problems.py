"""What fails a test. All are AssertionErrors, so no `except UpstreamError` of the code under test
takes them for a failing provider.
"""

from __future__ import annotations


class CassetteError(AssertionError):
    """A cassette cannot be read, or a call cannot be written to one; the text says why."""


class UnexpectedLiveCall(CassetteError):
    """A call would have gone to the provider, and nobody has allowed that."""


class UnusedRecordings(CassetteError):
    """The test was strict, and some recorded calls were not made again."""
