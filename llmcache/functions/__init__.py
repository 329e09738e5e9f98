"""What a function returned, kept and given again: the rooms behind `@cached`."""

from llmcache.functions.decorator import cached as cached
