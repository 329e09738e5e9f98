"""What a third party would ship, a module each: a store, a store over others, an upstream, a guard,
an embedder and a judge. They know nothing of llmcache but its base classes, what those take and
return, and its errors; a site switches each on by its line in the settings. The tests beside them
put them to what our own are put to.
"""
